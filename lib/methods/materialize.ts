import { release, type Segment } from '../core/memory.js';
import type { Placement } from '../core/scratch.js';
import type { Tensor } from '../core/tensor.js';
import { layOut, type TensorBlock, type TensorSpec } from '../core/tensor-block.js';
import type { OpContext } from '../native/call.js';
import type { TrainedParameter } from './method.js';

type LayOut = (specs: readonly (TensorSpec & { name: string })[], memory: Placement) => TensorBlock;

/** Gives parameters of a method one allocation and their starting values. 'dry': shapes and bytes alone. */
export function materialize(
  parameters: readonly TrainedParameter[],
  memory: Placement,
  context: OpContext,
  layOutIn: LayOut = layOut,
): Segment {
  const specs = parameters.map(({ parameter, dtype }) => ({ name: parameter.name, dtype, shape: parameter.shape }));
  const { segment, tensors } = layOutIn(specs, memory);
  try {
    parameters.forEach(({ parameter, initialize }, i) => {
      const value = tensors[i] as Tensor;
      if (memory !== 'dry') initialize(value, context);
      parameter.value = value;
    });
  } catch (error) {
    release(segment);
    throw error;
  }
  return segment;
}
