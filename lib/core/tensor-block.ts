import { bytesOfShape, type DType } from './dtype.js';
import { allocate, drySegment, type Segment } from './memory.js';
import type { Placement } from './scratch.js';
import { Tensor } from './tensor.js';

export interface TensorSpec {
  dtype: DType;
  shape: readonly number[];
}

/** Several tensors in one segment. Release the segment to give them all back. */
export interface TensorBlock {
  segment: Segment;
  /** In the order of their specs. */
  tensors: Tensor[];
}

/** Bytes that layOut takes for these specs: each tensor is padded to 64 bytes, so those of parts add up to those of the whole. */
export function layoutBytes(specs: readonly TensorSpec[]): number {
  return specs.reduce((sum, { dtype, shape }) => sum + Math.ceil(bytesOfShape(dtype, shape) / 64) * 64, 0);
}

/** Tensors one after the other in memory that is there, as layOut places them; at least layoutBytes of it. */
export function layOutIn(segment: Segment, specs: readonly (TensorSpec & { name: string })[]): Tensor[] {
  let offset = 0;
  return specs.map((spec) => {
    const tensor = new Tensor(segment, offset, spec.dtype, spec.shape, spec.name);
    offset += layoutBytes([spec]);
    return tensor;
  });
}

/** One segment for several tensors, each aligned to 64 bytes, zero-filled. 'dry': shapes and bytes alone. */
export function layOut(specs: readonly (TensorSpec & { name: string })[], memory: Placement): TensorBlock {
  const bytes = layoutBytes(specs);
  const segment = memory === 'dry' || bytes === 0 ? { id: drySegment, bytes } : place(bytes, memory);
  return { segment, tensors: layOutIn(segment, specs) };
}

function place(bytes: number, memory: Exclude<Placement, 'dry'>): Segment {
  return typeof memory === 'string' ? allocate(bytes, memory) : memory.folder.map(bytes, memory.what);
}

/** layOut with the tensors by name. */
export function layOutNamed<Name extends string>(
  layout: Record<Name, TensorSpec>,
  memory: Placement,
): { segment: Segment; tensors: Record<Name, Tensor> } {
  const specs = Object.entries<TensorSpec>(layout).map(([name, spec]) => ({ name, ...spec }));
  const { segment, tensors } = layOut(specs, memory);
  return { segment, tensors: Object.fromEntries(tensors.map((t) => [t.name, t])) as Record<Name, Tensor> };
}
