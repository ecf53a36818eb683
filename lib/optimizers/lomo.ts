import { z } from 'zod';
import { defineOptimizer, onlyFused } from './definition.js';
import { decayOf, elementRule } from './optimizer.js';
import { fusedClipping, weightDecay } from './settings.js';

/** LOMO (Lv et al. 2023, arXiv 2306.09782): SGD in the epilogue of every weight gradient, so that no gradient is ever stored. */
export const lomo = defineOptimizer({
  name: 'lomo',
  description: 'Gradient descent fused into the backward pass: no gradients, no state (arXiv 2306.09782)',
  settings: {
    weightDecay: weightDecay(0),
    clipValue: z.number().positive().optional().describe('Clip every gradient element to [-v, v]. Default: no clipping'),
    ...fusedClipping,
  },
  learningRates: {
    // SmolLM2-135M-Instruct, bf16, 512 tokens a step: 0.03 diverges at step 8, 0.003 learns.
    full: { value: 0.003, source: 'a tenth of sgd, since a fused update cannot clip the norm' },
  },
  ...onlyFused('lomo', 'sgd', ', clip each element by optimizer.clipValue'),
  create: ({ weightDecay, clipValue = 0 }, { weightDecayOn }) => ({
    name: 'lomo',
    states: () => [],
    rule: (p, _states, step) => ({
      ...elementRule('sgd', step),
      weightDecay: decayOf(p, weightDecay, weightDecayOn),
      clipValue,
    }),
  }),
});
