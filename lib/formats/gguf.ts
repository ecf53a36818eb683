import type { Segment } from '../core/memory.js';
import { release } from '../core/memory.js';
import { ByteCursor } from './byte-cursor.js';
import { corruptFile, shown, unsupportedFile } from './file-error.js';
import { type GgufMetadata, readMetadata, readString } from './gguf-metadata.js';
import { ggmlTypes, supportedGgmlTypes } from './gguf-types.js';
import { mapChecked } from './map-file.js';

const magic = 0x46554747; // "GGUF"
const maxTensors = 2 ** 20;
const maxKeys = 2 ** 16;
const maxNameBytes = 4096;
const maxAlignment = 2 ** 20;

export interface GgufTensor {
  /** As in the file, e.g. blk.0.attn_q.weight. */
  name: string;
  /** Number of the storage type: gguf-types.ts. */
  type: number;
  /** Slowest dimension first, as everywhere here; the file lists them the other way round. */
  shape: number[];
  /** Offset in the file. */
  byteOffset: number;
  bytes: number;
}

/** A parsed and checked GGUF file (version 2 or 3, little-endian). Layout: ggml's docs/gguf.md. */
export interface GgufFile {
  path: string;
  map: Segment;
  version: number;
  alignment: number;
  metadata: GgufMetadata;
  tensors: Map<string, GgufTensor>;
}

/** Maps a GGUF file and reads its header. The caller releases `map`. @throws ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED */
export function openGguf(path: string): GgufFile {
  const map = mapChecked(path);
  try {
    return parse(map, path);
  } catch (error) {
    release(map);
    throw error;
  }
}

function parse(map: Segment, path: string): GgufFile {
  const cursor = new ByteCursor(map, path);
  if (cursor.bytesLeft < 24) throw corruptFile(path, `it has ${cursor.bytesLeft} bytes, a GGUF header takes at least 24`);
  if (cursor.u32() !== magic) throw corruptFile(path, 'it does not begin with "GGUF"');
  const version = checkVersion(cursor.u32(), path);
  const tensorCount = checkCount(cursor.u64(), maxTensors, 'tensors', path);
  const keyCount = checkCount(cursor.u64(), maxKeys, 'metadata keys', path);
  const metadata = readMetadata(cursor, keyCount, path);
  const alignment = metadata.integer('general.alignment') ?? 32;
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0 || alignment > maxAlignment)
    throw corruptFile(path, `general.alignment must be a power of two up to ${maxAlignment}, got ${alignment}`);
  const tensors = new Map<string, GgufTensor>();
  cursor.require(tensorCount, 24, `the list of ${tensorCount} tensors`);
  for (let i = 0; i < tensorCount; i++) {
    const t = readTensor(cursor, alignment, path);
    if (tensors.has(t.name)) throw corruptFile(path, `the tensor ${shown(t.name)} occurs twice`);
    tensors.set(t.name, t);
  }
  const dataBegin = Math.ceil(cursor.offset / alignment) * alignment;
  for (const t of tensors.values()) t.byteOffset += dataBegin;
  checkLayout(tensors, map.bytes, path);
  return { path, map, version, alignment, metadata, tensors };
}

function checkVersion(version: number, path: string): number {
  if (version === 2 || version === 3) return version;
  if (version === 0x02000000 || version === 0x03000000)
    throw unsupportedFile(path, 'it is a big-endian GGUF file', 'Use the little-endian file of this model.');
  throw unsupportedFile(path, `it is GGUF version ${version}, supported are 2 and 3`, 'Convert the model again with a current converter.');
}

function checkCount(count: bigint, most: number, what: string, path: string): number {
  if (count > BigInt(most)) throw corruptFile(path, `the header says it has ${count} ${what}, at most ${most} are allowed`);
  return Number(count);
}

function readTensor(cursor: ByteCursor, alignment: number, path: string): GgufTensor {
  const name = readString(cursor, maxNameBytes, path);
  const where = `tensor ${shown(name)}`;
  const dimensions = cursor.u32();
  if (dimensions > 4) throw corruptFile(path, `${where} has ${dimensions} dimensions, at most 4 are allowed`);
  const sizes = Array.from({ length: dimensions }, () => cursor.u64());
  const typeNumber = cursor.u32();
  const offset = cursor.u64();
  const type = ggmlTypes.get(typeNumber);
  if (!type)
    throw unsupportedFile(path, `${where} has the unknown storage type ${typeNumber}`, `Use a file in ${supportedGgmlTypes.join(', ')}.`);
  const elements = sizes.reduce((a, b) => a * b, 1n);
  if (elements * BigInt(type.blockBytes) > BigInt(Number.MAX_SAFE_INTEGER) || sizes.includes(0n))
    throw corruptFile(path, `${where} has the dimensions [${sizes.join(', ')}]`);
  const shape = sizes.map(Number).reverse();
  if ((shape.at(-1) ?? 1) % type.blockElements !== 0)
    throw corruptFile(path, `${where} has rows of ${shape.at(-1)} elements, ${type.name} needs multiples of ${type.blockElements}`);
  if (offset > BigInt(Number.MAX_SAFE_INTEGER) || offset % BigInt(alignment) !== 0n)
    throw corruptFile(path, `${where} begins at offset ${offset}, a multiple of ${alignment} inside the file was expected`);
  return { name, type: typeNumber, shape, byteOffset: Number(offset), bytes: (Number(elements) / type.blockElements) * type.blockBytes };
}

function checkLayout(tensors: Map<string, GgufTensor>, fileBytes: number, path: string): void {
  let previous: GgufTensor | undefined;
  for (const t of [...tensors.values()].sort((a, b) => a.byteOffset - b.byteOffset)) {
    if (t.byteOffset + t.bytes > fileBytes)
      throw corruptFile(path, `tensor ${shown(t.name)} ends at byte ${t.byteOffset + t.bytes}, the file has ${fileBytes}; it is truncated`);
    if (previous && t.byteOffset < previous.byteOffset + previous.bytes)
      throw corruptFile(path, `the tensors ${shown(previous.name)} and ${shown(t.name)} overlap`);
    previous = t;
  }
}
