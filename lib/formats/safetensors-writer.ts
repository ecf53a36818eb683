import { basename, dirname, join } from 'node:path';
import { bytesOf, bytesOfShape, type DType, dtypes, type FloatType, isQuantized } from '../core/dtype.js';
import { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { cast } from '../native/ops.js';
import { type FileSink, writeFileAtomic } from './atomic-file.js';
import { HostContext } from './host-ops.js';
import { safetensorsDTypes } from './safetensors-header.js';
import { byteChunks } from './tensor-store.js';

/** A tensor that is made when its turn comes, so that a merged model never lies in memory whole. */
export interface LazyTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  make(): Tensor;
  /** Called once the tensor is written. */
  release?(t: Tensor): void;
}

export interface TensorToWrite {
  name: string;
  tensor: Tensor | LazyTensor;
  /** Type in the file. Default: the tensor's own, f32 for quantized ones. */
  dtype?: FloatType | undefined;
}

export interface SafetensorsOptions {
  /** Header metadata. Default {"format":"pt"}, which transformers expects. */
  metadata?: Record<string, string> | undefined;
}

export interface ShardedOptions extends SafetensorsOptions {
  /** Largest data section of a shard in bytes. Default 5 * 10^9, as transformers. A larger tensor gets a shard of its own. */
  maxShardBytes?: number | undefined;
}

interface Planned extends TensorToWrite, StoredTensor {
  bytes: number;
}

/**
 * Writes one safetensors file as a whole (see writeFileAtomic). Tensors leave native memory in pieces of a few MiB. Wide types come
 * first, then by name, as in the reference implementation, so that everything is aligned.
 * @throws ERR_FILE, ERR_INTERNAL for a name given twice
 */
export function writeSafetensors(path: string, tensors: Iterable<TensorToWrite>, options: SafetensorsOptions = {}): void {
  writePlanned(path, planned(tensors), options);
}

/**
 * Writes `<stem>.safetensors`, or where that exceeds maxShardBytes `<stem>-0000i-of-0000N.safetensors` and an index.
 * @param path of the single file, e.g. folder/model.safetensors
 * @returns the names of the files written
 * @throws ERR_FILE
 */
export function writeSafetensorsSharded(path: string, tensors: Iterable<TensorToWrite>, options: ShardedOptions = {}): string[] {
  const all = planned(tensors);
  const shards = intoShards(all, options.maxShardBytes ?? 5e9);
  if (shards.length === 1) {
    writePlanned(path, all, options);
    return [basename(path)];
  }
  const stem = basename(path, '.safetensors');
  const digits = (n: number): string => String(n).padStart(5, '0');
  const weightMap: [string, string][] = [];
  const files = shards.map((shard, i) => {
    const file = `${stem}-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
    writePlanned(join(dirname(path), file), shard, options);
    for (const t of shard) weightMap.push([t.name, file]);
    return file;
  });
  const index = {
    metadata: { total_size: all.reduce((sum, t) => sum + t.bytes, 0) },
    weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  const indexFile = `${basename(path)}.index.json`;
  writeFileAtomic(join(dirname(path), indexFile), `${JSON.stringify(index, null, 2)}\n`);
  return [...files, indexFile];
}

function planned(tensors: Iterable<TensorToWrite>): Planned[] {
  const names = new Set(['__metadata__']);
  return [...tensors].map(({ name, tensor, dtype }) => {
    if (names.has(name)) throw new FinetuneError('ERR_INTERNAL', `tensor ${name} was given twice or has a reserved name`);
    names.add(name);
    const storedType = dtype ?? (isQuantized(tensor.dtype) ? 'f32' : tensor.dtype);
    return { name, tensor, storedType, shape: tensor.shape, bytes: bytesOfShape(storedType, tensor.shape) };
  });
}

function intoShards(tensors: Planned[], maxBytes: number): Planned[][] {
  const shards: Planned[][] = [[]];
  let bytes = 0;
  for (const t of tensors) {
    if (bytes > 0 && bytes + t.bytes > maxBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)?.push(t);
    bytes += t.bytes;
  }
  return shards;
}

const storageNames = Object.fromEntries(Object.entries(safetensorsDTypes).map(([storage, dtype]) => [dtype, storage])) as Record<
  DType,
  string
>;

function writePlanned(path: string, tensors: Planned[], options: SafetensorsOptions): void {
  const inOrder = inFileOrder(tensors);
  writeFileAtomic(path, (sink) => {
    sink.write(headerOf(inOrder, options.metadata));
    for (const t of inOrder) writeTensor(sink, t);
  });
}

/** A tensor as a header describes it. */
export interface StoredTensor {
  name: string;
  storedType: DType;
  shape: readonly number[];
}

/** Wide types first, then by name. */
export function inFileOrder<T extends Omit<StoredTensor, 'shape'>>(tensors: readonly T[]): T[] {
  const width = (t: T): number => dtypes[t.storedType].blockBytes;
  return [...tensors].sort((a, b) => width(b) - width(a) || (a.name < b.name ? -1 : 1));
}

/** Everything before the data of a file with these tensors, in their order; the data begins at a multiple of 64 bytes. */
export function headerOf(tensors: readonly StoredTensor[], metadata: Record<string, string> = { format: 'pt' }): Uint8Array {
  let offset = 0;
  const entries: [string, unknown][] = [['__metadata__', metadata]];
  for (const { name, storedType, shape } of tensors) {
    const end = offset + bytesOfShape(storedType, shape);
    entries.push([name, { dtype: storageNames[storedType], shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)), 'utf8');
  const header = Buffer.alloc(Math.ceil((8 + json.length) / 64) * 64, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8), 0);
  json.copy(header, 8);
  return header;
}

function writeTensor(sink: FileSink, { name, tensor: source, storedType }: Planned): void {
  if (source instanceof Tensor) {
    writeBytes(sink, source, storedType);
    return;
  }
  const made = source.make();
  try {
    if (made.shape.join() !== source.shape.join())
      throw new FinetuneError('ERR_INTERNAL', `tensor ${name} was announced as [${source.shape}] and came as [${made.shape}]`);
    writeBytes(sink, made, storedType);
  } finally {
    source.release?.(made);
  }
}

function writeBytes(sink: FileSink, t: Tensor, storedType: DType): void {
  if (t.dtype === storedType && t.isContiguous) for (const chunk of byteChunks(t)) sink.write(chunk);
  else writeConverted(sink, t, storedType);
}

const chunkElements = 2 ** 20;

// Rows through a small buffer; cast also packs strided rows.
function writeConverted(sink: FileSink, t: Tensor, storedType: DType): void {
  const { rows, cols } = t;
  if (rows * cols === 0) return;
  const asRows = new Tensor(t.segment, t.byteOffset, t.dtype, [rows, cols], t.name, t.rowStride);
  const step = Math.max(1, Math.min(rows, Math.floor(chunkElements / cols)));
  const buffer = Tensor.allocate(storedType, [step, cols], 'other', `${t.name} as ${storedType}`);
  const context = new HostContext();
  try {
    for (let begin = 0; begin < rows; begin += step) {
      const count = Math.min(step, rows - begin);
      const piece = buffer.slice(0, count);
      cast(context, { x: asRows.slice(begin, begin + count), y: piece });
      sink.write(piece.readBytes(0, bytesOf(storedType, count * cols)));
    }
  } finally {
    buffer.dispose();
  }
}
