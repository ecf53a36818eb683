import { defineOptimizer, fusedBySetting } from './definition.js';
import { decayOf, elementRule } from './optimizer.js';
import { beta1, beta2, fusedSettings, stateDtype, weightDecay } from './settings.js';
import { ElementStates } from './state.js';

/** Lion (Chen et al. 2023, arXiv 2302.06675): the sign of a momentum: native/updates/lion.h. */
export const lion = defineOptimizer({
  name: 'lion',
  description: 'Lion (arXiv 2302.06675): steps by the sign of a momentum, one state value per trained weight',
  settings: { beta1: beta1(0.9), beta2: beta2(0.99), weightDecay: weightDecay(0.05), ...fusedSettings, stateDtype },
  learningRates: {
    lora: { value: 4e-5, source: 'a fifth of that of adamw: arXiv 2302.06675 takes 3 to 10 times less' },
    full: { value: 4e-6, source: 'a fifth of that of adamw: arXiv 2302.06675 takes 3 to 10 times less' },
  },
  ...fusedBySetting,
  create({ beta1, beta2, weightDecay, stateDtype }, context) {
    const states = new ElementStates(['exp_avg'], stateDtype, context);
    return {
      name: 'lion',
      states: (p) => states.specs(p),
      rule: (p, tensors, step) => ({
        ...elementRule('lion', step),
        ...states.arguments(p, tensors),
        weightDecay: decayOf(p, weightDecay, context.weightDecayOn),
        hyper0: beta1,
        hyper1: beta2,
      }),
    };
  },
});
