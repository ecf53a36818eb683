import type { Tensor } from '../core/tensor.js';
import type { OptimizerContext } from './definition.js';
import type { StateSpec, UpdateRule } from './optimizer.js';

/** How an optimizer may store its states; the setting `stateDtype`. 8bit, 4bit: codes in blocks, native/updates/block_states.h. */
export const stateDtypes = ['f32', 'bf16', '8bit', '4bit'] as const;
export type StateDtype = (typeof stateDtypes)[number];

/** Bits of a code, and elements that share one magnitude. */
const codings: Partial<Record<StateDtype, { bits: number; blockElements: number }>> = {
  '8bit': { bits: 8, blockElements: 256 },
  '4bit': { bits: 4, blockElements: 128 },
};
/** Smaller weights keep f32 states: nothing to save, and norms are sensitive (arXiv 2110.02861 and 2309.01507 alike). */
const leastCodedElements = 4096;

type StateArguments = Partial<Pick<UpdateRule, 'state0' | 'state1' | 'absmax0' | 'absmax1' | 'stateBits'>>;

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
    const coding = this.codingOf(shape);
    if (coding) {
      const { bits, blockElements } = coding;
      const codes = bits === 8 ? shape : [Math.ceil((elementsOf(shape) * bits) / 8)];
      const blocks = [Math.ceil(elementsOf(shape) / blockElements)];
      return this.names.flatMap((name): StateSpec[] => [
        { name, dtype: 'u8', shape: codes },
        { name: `${name}.absmax`, dtype: accumulator, shape: blocks },
      ]);
    }
    const dtype = accumulator === 'f64' || stateDtype === '8bit' || stateDtype === '4bit' ? accumulator : stateDtype;
    return this.names.map((name) => ({ name, dtype, shape: shape }));
  }

  /** The tensors of `specs` as arguments of the rule. */
  arguments({ shape }: Sized, tensors: readonly Tensor[]): StateArguments {
    const coding = this.codingOf(shape);
    if (!coding) return { state0: tensors[0], state1: tensors[1] };
    const [state0, absmax0, state1, absmax1] = tensors;
    return { state0, absmax0, state1, absmax1, stateBits: coding.bits };
  }

  private codingOf(shape: readonly number[]) {
    return elementsOf(shape) >= leastCodedElements ? codings[this.stateDtype] : undefined;
  }
}
