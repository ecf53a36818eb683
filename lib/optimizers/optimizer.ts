import type { FloatType } from '../core/dtype.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import { type OptimizerUpdateArgs, type UpdateKind, updateKinds } from '../native/ops.js';

/** The update rule of one element-wise step, as the native side takes it (native/ops/fields.h, UpdateRule). */
export type UpdateRule = Omit<OptimizerUpdateArgs, 'weight' | 'grad'>;

/** One state tensor an optimizer keeps per parameter. */
export interface StateSpec {
  /** As saved in checkpoints: exp_avg, exp_avg_sq ... */
  name: string;
  dtype: FloatType | 'u8';
  shape: readonly number[];
}

/** What changes from step to step. */
export interface UpdateContext {
  /** Optimizer step since the states of the parameter were zero, from 1. */
  step: number;
  learningRate: number;
  /** Factor on the gradient, e.g. the clip coefficient. */
  gradScale: number;
  /** Key of the stochastic rounding of this step and parameter. */
  seed: number;
  /** Key of the parameter in this run, the same in every step. */
  parameterSeed: number;
  stochasticRounding: boolean;
}

/** What an optimizer that needs losses alone works with in a step. */
export interface ForwardStep {
  readonly learningRate: number;
  /** Loss of the step's batches at the weights as they are. @throws ERR_NONFINITE_LOSS */
  loss(): number;
  /** Calls ops for every trained parameter. seed: key of random numbers of this step and parameter. */
  update(change: (run: Run, p: Parameter, seed: number) => void): void;
}

/**
 * An optimizer is written once and works on kept gradients and fused into the backward pass. An element-wise update is a native
 * rule, which runs in the epilogue of the weight gradient, with the same bits as on a whole gradient.
 */
export interface Optimizer {
  readonly name: string;
  /** Its states for a parameter. */
  states(p: Parameter): StateSpec[];
  /** The native rule for p; undefined where the update needs the whole gradient. The same for every step. */
  rule(p: Parameter, states: readonly Tensor[], context: UpdateContext): UpdateRule | undefined;
  /** Updates a parameter without a rule. */
  update?(run: Run, p: Parameter, grad: Tensor, states: readonly Tensor[], context: UpdateContext): void;
  /** A whole step without gradients, for optimizers that are forwardOnly; returns its loss. */
  forwardStep?(step: ForwardStep): number;
}

/** Weight decay applies to matrices; norm weights and biases are left alone, as transformers' Trainer does, unless 'all' is asked for. */
export type WeightDecayOn = 'matrices' | 'all';

/** The decay that applies to p. */
export function decayOf(p: Parameter, weightDecay: number, on: WeightDecayOn): number {
  return on === 'all' || p.shape.length > 1 ? weightDecay : 0;
}

/** A native rule with what it takes from the step. */
export function elementRule(kind: UpdateKind, context: UpdateContext): UpdateRule {
  const { learningRate, gradScale, step, seed, stochasticRounding } = context;
  return { updateKind: updateKinds.indexOf(kind), learningRate, gradScale, step, seed, stochasticRounding: stochasticRounding ? 1 : 0 };
}
