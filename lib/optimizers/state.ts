import type { Tensor } from '../core/tensor.js';
import type { OptimizerContext } from './definition.js';
import type { StateSpec, UpdateRule } from './optimizer.js';

/** How an optimizer may store its states; the setting `stateDtype`. 8bit: codes in blocks, native/updates/block_states.h. */
export const stateDtypes = ['f32', 'bf16', '8bit'] as const;
export type StateDtype = (typeof stateDtypes)[number];

/** Elements that share one magnitude in an 8-bit state. */
const blockElements = 256;
/** Smaller weights keep f32 states under 8bit: nothing to save, and norms are sensitive (Dettmers et al. 2021, arXiv 2110.02861). */
const leastCodedElements = 4096;

type StateArguments = Pick<UpdateRule, 'state0' | 'state1' | 'absmax0' | 'absmax1'>;

const elementsOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** A parameter, or what is kept in its place. */
interface Sized {
  shape: readonly number[];
}

/** One or two states of a weight's shape, in the order state0, state1 of the native rule. state1 is never negative. */
export class ElementStates {
  private readonly names: readonly string[];
  private readonly stateDtype: StateDtype;
  private readonly accumulator: 'f32' | 'f64';

  constructor(names: readonly string[], stateDtype: StateDtype, { accumulator }: OptimizerContext) {
    this.names = names;
    this.stateDtype = stateDtype;
    this.accumulator = accumulator;
  }

  specs({ shape }: Sized): StateSpec[] {
    const { accumulator, stateDtype } = this;
    if (this.isCoded(shape)) {
      const blocks = [Math.ceil(elementsOf(shape) / blockElements)];
      return this.names.flatMap((name): StateSpec[] => [
        { name, dtype: 'u8', shape },
        { name: `${name}.absmax`, dtype: accumulator, shape: blocks },
      ]);
    }
    const dtype = accumulator === 'f64' || stateDtype === '8bit' ? accumulator : stateDtype;
    return this.names.map((name) => ({ name, dtype, shape }));
  }

  /** The tensors of `specs` as arguments of the rule. */
  arguments({ shape }: Sized, tensors: readonly Tensor[]): StateArguments {
    if (!this.isCoded(shape)) return { state0: tensors[0], state1: tensors[1] };
    const [state0, absmax0, state1, absmax1] = tensors;
    return { state0, absmax0, state1, absmax1 };
  }

  private isCoded(shape: readonly number[]): boolean {
    return this.stateDtype === '8bit' && elementsOf(shape) >= leastCodedElements;
  }
}
