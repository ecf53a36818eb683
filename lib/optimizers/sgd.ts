import { defineOptimizer, fusedBySetting } from './definition.js';
import { lomo } from './lomo.js';
import { decayOf, elementRule } from './optimizer.js';
import { fusedSettings, momentum, nesterov, stateDtype, weightDecay } from './settings.js';
import { ElementStates } from './state.js';

/** Stochastic gradient descent, with momentum or Nesterov's as PyTorch has them: native/updates/sgd.h and momentum.h. */
export const sgd = defineOptimizer({
  name: 'sgd',
  description: 'Gradient descent, no state unless momentum is asked for',
  settings: {
    momentum: momentum(0),
    nesterov: nesterov(false),
    weightDecay: weightDecay(0),
    ...fusedSettings,
    stateDtype,
  },
  learningRates: {
    lora: { value: 0.3, source: 'ten times that of full training, as is usual for adapters' },
    full: { value: 0.03, source: 'arXiv 2306.09782 with the gradient norm clipped at 1, as here; when fused, that of lomo' },
  },
  fusedLearningRate: lomo.learningRates.full,
  // A momentum adds up 1 / (1 - momentum) gradients.
  learningRateFactor: ({ momentum }) => 1 - momentum,
  ...fusedBySetting,
  refuse({ nesterov, momentum }) {
    if (!nesterov || momentum > 0) return undefined;
    return { path: ['optimizer', 'nesterov'], message: 'there is no momentum to look ahead by; set optimizer.momentum, such as 0.9' };
  },
  create({ momentum, nesterov, weightDecay, stateDtype }, context) {
    const states = new ElementStates(momentum > 0 ? ['momentum_buffer'] : [], stateDtype, context);
    return {
      name: 'sgd',
      states: (p) => states.specs(p),
      rule: (p, tensors, step) => ({
        ...elementRule(momentum > 0 ? 'momentum' : 'sgd', step),
        ...states.arguments(p, tensors),
        weightDecay: decayOf(p, weightDecay, context.weightDecayOn),
        hyper0: momentum,
        hyper1: nesterov ? 1 : 0,
      }),
    };
  },
});
