import { type UpdateKind, updateKinds } from '../native/ops.js';
import { commonRule, decayOf, type Optimizer, type WeightDecayOn } from './optimizer.js';

/** Gradient descent without state, which sgd and lomo share: native/updates/sgd.h. clipValue 0 = no clipping of elements. */
export function plainDescent(name: string, options: { weightDecay: number; weightDecayOn: WeightDecayOn; clipValue: number }): Optimizer {
  return {
    name,
    states: () => [],
    rule: (p, _states, context) => ({
      ...commonRule(context),
      updateKind: updateKinds.indexOf('sgd' satisfies UpdateKind),
      weightDecay: decayOf(p, options.weightDecay, options.weightDecayOn),
      clipValue: options.clipValue,
    }),
  };
}
