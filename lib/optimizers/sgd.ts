import { type UpdateKind, updateKinds } from '../native/ops.js';
import { commonRule, decayOf, type Optimizer, type WeightDecayOn } from './optimizer.js';

export interface SgdOptions {
  weightDecay: number;
  weightDecayOn: WeightDecayOn;
  /** Clamps every gradient element to [-clipValue, clipValue]; 0 = off. */
  clipValue: number;
}

/** Stochastic gradient descent without momentum or state: native/updates/sgd.h. */
export function sgd(options: SgdOptions): Optimizer {
  return {
    name: 'sgd',
    states: () => [],
    rule: (p, _states, context) => ({
      ...commonRule(context),
      updateKind: updateKinds.indexOf('sgd' satisfies UpdateKind),
      weightDecay: decayOf(p, options.weightDecay, options.weightDecayOn),
      clipValue: options.clipValue,
    }),
  };
}
