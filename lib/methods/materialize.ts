import { allocate, drySegment, release, type Segment } from '../core/memory.js';
import { Tensor } from '../core/tensor.js';
import type { OpContext } from '../native/call.js';
import type { TrainedParameter } from './method.js';

/** Gives parameters of a method one allocation and their starting values. Dry: shapes and bytes alone. */
export function materialize(parameters: readonly TrainedParameter[], dry: boolean, context: OpContext): Segment {
  const targets = parameters.map(({ parameter, dtype }) => Tensor.dry(dtype, parameter.shape, parameter.name));
  const aligned = (t: Tensor) => Math.ceil(t.bytes / 64) * 64;
  const bytes = targets.reduce((sum, t) => sum + aligned(t), 0);
  const segment = dry ? { id: drySegment, bytes } : allocate(bytes, 'weights');
  let offset = 0;
  try {
    parameters.forEach(({ parameter, initialize }, i) => {
      const shape = targets[i] as Tensor;
      const value = new Tensor(segment, offset, shape.dtype, shape.shape, shape.name);
      offset += aligned(shape);
      if (!dry) initialize(value, context);
      parameter.value = value;
    });
  } catch (error) {
    release(segment);
    throw error;
  }
  return segment;
}
