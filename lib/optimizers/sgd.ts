import { defineOptimizer, fusedBySetting } from './definition.js';
import { lomo } from './lomo.js';
import { plainDescent } from './plain-descent.js';
import { fused, weightDecay } from './settings.js';

/** Stochastic gradient descent without momentum or state. */
export const sgd = defineOptimizer({
  name: 'sgd',
  description: 'Plain gradient descent, no state',
  settings: { weightDecay: weightDecay(0), fused },
  learningRates: {
    lora: { value: 0.3, source: 'ten times that of full training, as is usual for adapters' },
    full: { value: 0.03, source: 'arXiv 2306.09782 with the gradient norm clipped at 1, as here; when fused, that of lomo' },
  },
  fusedLearningRate: lomo.learningRates.full,
  ...fusedBySetting,
  create: ({ weightDecay }, { weightDecayOn }) => plainDescent('sgd', { weightDecay, weightDecayOn, clipValue: 0 }),
});
