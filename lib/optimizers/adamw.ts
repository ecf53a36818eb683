import { type UpdateKind, updateKinds } from '../native/ops.js';
import { commonRule, decayOf, type Optimizer, type WeightDecayOn } from './optimizer.js';

export interface AdamwOptions {
  beta1: number;
  beta2: number;
  eps: number;
  /** Decoupled: w *= 1 - learningRate * weightDecay. */
  weightDecay: number;
  weightDecayOn: WeightDecayOn;
  stateDtype: 'f32' | 'bf16' | 'f64';
}

/** AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), in PyTorch's order of operations: native/updates/adamw.h. */
export function adamw(options: AdamwOptions): Optimizer {
  const { beta1, beta2, eps, weightDecay, weightDecayOn, stateDtype } = options;
  return {
    name: 'adamw',
    states: (p) => ['exp_avg', 'exp_avg_sq'].map((name) => ({ name, dtype: stateDtype, shape: p.shape })),
    rule: (p, [state0, state1], context) => ({
      ...commonRule(context),
      updateKind: updateKinds.indexOf('adamw' satisfies UpdateKind),
      state0,
      state1,
      weightDecay: decayOf(p, weightDecay, weightDecayOn),
      hyper0: beta1,
      hyper1: beta2,
      hyper2: eps,
    }),
  };
}
