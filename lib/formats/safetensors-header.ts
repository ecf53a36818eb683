import type { DType } from '../core/dtype.js';
import { corruptFile, shown } from './file-error.js';
import { isObject, jsonProblem, parseJsonObject } from './json-file.js';

const storagesByBits: Record<number, string[]> = {
  4: ['F4'],
  6: ['F6_E2M3', 'F6_E3M2'],
  8: ['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0'],
  16: ['I16', 'U16', 'F16', 'BF16'],
  32: ['I32', 'U32', 'F32'],
  64: ['I64', 'U64', 'F64', 'C64'],
};

/** Bits per element of every storage type of the format. */
const bitsOf = new Map(Object.entries(storagesByBits).flatMap(([bits, names]) => names.map((name) => [name, Number(bits)] as const)));

/** Types that have a counterpart in the engine. */
export const safetensorsDTypes: Partial<Record<string, DType>> = { F64: 'f64', F32: 'f32', F16: 'f16', BF16: 'bf16', I32: 'i32', U8: 'u8' };

/** Header bytes that the reference implementation accepts at most. */
export const maxHeaderBytes = 100_000_000;

export interface SafetensorsEntry {
  /** As in the file: F32, BF16 ... */
  storage: string;
  shape: number[];
  /** Offset in the file, not in the data section. */
  byteOffset: number;
  bytes: number;
}

export interface SafetensorsHeader {
  tensors: Map<string, SafetensorsEntry>;
  metadata: Record<string, string>;
}

/** Length of the JSON header from the first 8 bytes of a file of `fileBytes`. @throws ERR_MODEL_CORRUPT */
export function headerLength(first8: Uint8Array, fileBytes: number, path: string): number {
  const length = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    throw corruptFile(
      path,
      `the header says it is ${length} bytes long, at most ${maxHeaderBytes} are allowed; this is no safetensors file`,
    );
  if (Number(length) > fileBytes - 8)
    throw corruptFile(path, `the header needs ${length} bytes after the first 8, the file has ${fileBytes - 8}; it is truncated`);
  return Number(length);
}

/**
 * Parses and checks a safetensors header: known types, shapes of non-negative safe integers, byte ranges that match the shapes
 * and fill the data section exactly, in some order, without overlap or hole.
 * @param json the header text
 * @param dataBegin file offset of the data section
 * @param fileBytes size of the file
 * @throws ERR_MODEL_CORRUPT naming the tensor
 */
export function parseSafetensorsHeader(json: string, dataBegin: number, fileBytes: number, path: string): SafetensorsHeader {
  const problem = jsonProblem(json, 4);
  if (problem) throw corruptFile(path, `the header is wrong: ${problem}`);
  const header = parseJsonObject(json, path);
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(value, path);
    else tensors.set(name, parseEntry(name, value, dataBegin, path));
  }
  checkLayout(tensors, dataBegin, fileBytes, path);
  return { tensors, metadata };
}

function parseMetadata(value: unknown, path: string): Record<string, string> {
  if (!isObject(value) || Object.values(value).some((v) => typeof v !== 'string'))
    throw corruptFile(path, `__metadata__ must map names to strings, got ${shown(value)}`);
  return value as Record<string, string>;
}

function parseEntry(name: string, value: unknown, dataBegin: number, path: string): SafetensorsEntry {
  const where = `tensor ${shown(name)}`;
  if (!isObject(value)) throw corruptFile(path, `${where} must be an object, got ${shown(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  const bits = typeof dtype === 'string' ? bitsOf.get(dtype) : undefined;
  if (bits === undefined) throw corruptFile(path, `${where} has the unknown dtype ${shown(dtype)}`);
  if (!isSizes(shape)) throw corruptFile(path, `${where} has the shape ${shown(shape)}, non-negative integers were expected`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw corruptFile(path, `${where} has the data_offsets ${shown(offsets)}, two non-negative integers were expected`);
  const [begin, end] = offsets as [number, number];
  const elements = shape.reduce((a, b) => a * b, 1);
  const wanted = (elements * bits) / 8;
  if (!Number.isSafeInteger(elements * bits) || !Number.isInteger(wanted))
    throw corruptFile(path, `${where} of shape ${shown(shape)} and dtype ${dtype} has no valid byte count`);
  if (end - begin !== wanted)
    throw corruptFile(
      path,
      `${where} of shape ${shown(shape)} and dtype ${dtype} takes ${wanted} bytes, its data_offsets ${shown(offsets)} hold ${end - begin}`,
    );
  return { storage: dtype as string, shape, byteOffset: dataBegin + begin, bytes: wanted };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

// The reference implementation refuses holes too: bytes that no tensor owns could hide anything.
function checkLayout(tensors: Map<string, SafetensorsEntry>, dataBegin: number, fileBytes: number, path: string): void {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.bytes - b.bytes);
  let expected = dataBegin;
  for (const [name, t] of inOrder) {
    if (t.byteOffset + t.bytes > fileBytes)
      throw corruptFile(path, `tensor ${shown(name)} ends at byte ${t.byteOffset + t.bytes}, the file has ${fileBytes}; it is truncated`);
    if (t.byteOffset !== expected) {
      const what =
        t.byteOffset < expected ? 'overlaps the tensor before it' : `leaves a hole of ${t.byteOffset - expected} bytes before it`;
      throw corruptFile(path, `tensor ${shown(name)} at byte ${t.byteOffset} ${what}`);
    }
    expected += t.bytes;
  }
  if (expected !== fileBytes) throw corruptFile(path, `${fileBytes - expected} bytes at the end of the file belong to no tensor`);
}
