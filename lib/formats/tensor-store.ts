import { bytesOfShape, type DType, dtypes } from '../core/dtype.js';
import { release, type Segment } from '../core/memory.js';
import type { Placement, ScratchPlace } from '../core/scratch.js';
import { Tensor } from '../core/tensor.js';

/** Bytes a tensor's address must be a multiple of: its element, or the f16 scale that begins a quantized block. */
export function alignmentOf(dtype: DType): number {
  const { blockElements, blockBytes } = dtypes[dtype];
  return blockElements > 1 ? 2 : blockBytes;
}

/** Whether a tensor at this offset of a map has to be copied to be read. */
export function isMisaligned(byteOffset: number, dtype: DType): boolean {
  return byteOffset % alignmentOf(dtype) !== 0;
}

/** The memory behind a file's tensors: its map and the private copies made of parts of it. */
export class TensorStore {
  private readonly maps: Segment[] = [];
  private readonly copies: Tensor[] = [];

  addMap(map: Segment): void {
    this.maps.push(map);
  }

  /** A view at `byteOffset` of a map, or a private copy where that is misaligned for the type. */
  view(map: Segment, byteOffset: number, dtype: DType, shape: readonly number[], name: string): Tensor {
    const mapped = new Tensor(map, byteOffset, dtype, shape, name);
    if (!isMisaligned(byteOffset, dtype) || mapped.bytes === 0) return mapped;
    const copy = this.allocate(dtype, shape, name);
    copyBytes(mapped, copy);
    return copy;
  }

  /** A tensor in private memory or a scratch file, counted and released with the store. */
  allocate(dtype: DType, shape: readonly number[], name: string, memory: Exclude<Placement, 'dry'> = 'weights'): Tensor {
    const t = typeof memory === 'string' ? Tensor.allocate(dtype, shape, memory, name) : scratchTensor(dtype, shape, name, memory);
    this.copies.push(t);
    return t;
  }

  /** Gives a private tensor back; views of a map stay. */
  free(t: Tensor): void {
    const at = this.copies.indexOf(t);
    if (at < 0) return;
    this.copies.splice(at, 1);
    t.dispose();
  }

  privateBytes(): number {
    return this.copies.reduce((sum, t) => sum + t.bytes, 0);
  }

  close(): void {
    for (const t of this.copies.splice(0)) t.dispose();
    for (const map of this.maps.splice(0)) release(map);
  }
}

function scratchTensor(dtype: DType, shape: readonly number[], name: string, { folder, what }: ScratchPlace): Tensor {
  return new Tensor(folder.map(bytesOfShape(dtype, shape), what), 0, dtype, shape, name);
}

const chunkBytes = 8 * 2 ** 20;

/** The bytes of a contiguous tensor in pieces of at most 8 MiB. */
export function* byteChunks(t: Tensor): Generator<Uint8Array> {
  for (let at = 0; at < t.bytes; at += chunkBytes) yield t.readBytes(at, Math.min(chunkBytes, t.bytes - at));
}

function copyBytes(from: Tensor, to: Tensor): void {
  let at = 0;
  for (const chunk of byteChunks(from)) {
    to.writeBytes(chunk, at);
    at += chunk.length;
  }
}
