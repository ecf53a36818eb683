import type { DType } from './dtype.js';
import { allocate, type MemoryCategory, type Segment } from './memory.js';
import { bytesOfShape, Tensor } from './tensor.js';

export interface TensorSpec {
  dtype: DType;
  shape: readonly number[];
}

/** Several tensors in one segment, each aligned to 64 bytes, zero-filled. Release the segment to give them all back. */
export function allocateBlock<Name extends string>(
  layout: Record<Name, TensorSpec>,
  category: MemoryCategory,
): { segment: Segment; tensors: Record<Name, Tensor> } {
  const entries = Object.entries<TensorSpec>(layout);
  const offsets: number[] = [];
  let bytes = 0;
  for (const [, { dtype, shape }] of entries) {
    offsets.push(bytes);
    bytes += Math.ceil(bytesOfShape(dtype, shape) / 64) * 64;
  }
  const segment = allocate(bytes, category);
  const tensors = entries.map(([name, { dtype, shape }], i) => [name, new Tensor(segment, offsets[i] as number, dtype, shape, name)]);
  return { segment, tensors: Object.fromEntries(tensors) as Record<Name, Tensor> };
}

/** The same tensors as shapes alone, for recording a program. */
export function dryBlock<Name extends string>(layout: Record<Name, TensorSpec>): Record<Name, Tensor> {
  const entries = Object.entries<TensorSpec>(layout);
  return Object.fromEntries(entries.map(([name, { dtype, shape }]) => [name, Tensor.dry(dtype, shape, name)])) as Record<Name, Tensor>;
}
