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

/** One segment for several tensors, each aligned to 64 bytes, zero-filled. 'dry': shapes and bytes alone. */
export function layOut(specs: readonly (TensorSpec & { name: string })[], memory: Placement): TensorBlock {
  const offsets: number[] = [];
  let bytes = 0;
  for (const { dtype, shape } of specs) {
    offsets.push(bytes);
    bytes += Math.ceil(bytesOfShape(dtype, shape) / 64) * 64;
  }
  const segment = memory === 'dry' || bytes === 0 ? { id: drySegment, bytes } : place(bytes, memory);
  const tensors = specs.map(({ name, dtype, shape }, i) => new Tensor(segment, offsets[i] as number, dtype, shape, name));
  return { segment, tensors };
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
