import { defineOptimizer, fusedBySetting } from './definition.js';
import { decayOf, elementRule } from './optimizer.js';
import { fusedSettings, momentum, stateDtype, weightDecay } from './settings.js';
import { ElementStates } from './state.js';

/** SignSGD, and with momentum Signum (Bernstein et al. 2018, arXiv 1802.04434): native/updates/signsgd.h. */
export const signsgd = defineOptimizer({
  name: 'signsgd',
  description: 'SignSGD (arXiv 1802.04434): steps by the sign of the gradient, or of a momentum (Signum)',
  settings: { momentum: momentum(0), weightDecay: weightDecay(0), ...fusedSettings, stateDtype },
  learningRates: {
    lora: { value: 4e-5, source: 'that of lion: its steps have the same size' },
    full: { value: 4e-6, source: 'that of lion: its steps have the same size' },
  },
  ...fusedBySetting,
  create({ momentum, weightDecay, stateDtype }, context) {
    const states = new ElementStates(momentum > 0 ? ['momentum_buffer'] : [], stateDtype, context);
    return {
      name: 'signsgd',
      states: (p) => states.specs(p),
      rule: (p, tensors, step) => ({
        ...elementRule(momentum > 0 ? 'signum' : 'signsgd', step),
        ...states.arguments(p, tensors),
        weightDecay: decayOf(p, weightDecay, context.weightDecayOn),
        hyper0: momentum,
      }),
    };
  },
});
