import { z } from 'zod';
import { defineOptimizer } from './definition.js';
import { plainDescent } from './plain-descent.js';
import { weightDecay } from './settings.js';

/** LOMO (Lv et al. 2023, arXiv 2306.09782): SGD in the epilogue of every weight gradient, so that no gradient is ever stored. */
export const lomo = defineOptimizer({
  name: 'lomo',
  description: 'Gradient descent fused into the backward pass: no gradients, no state (arXiv 2306.09782)',
  settings: {
    weightDecay: weightDecay(0),
    clipValue: z.number().positive().optional().describe('Clip every gradient element to [-v, v]. Default: no clipping'),
  },
  learningRates: {
    // SmolLM2-135M-Instruct, bf16, 512 tokens a step: 0.03 diverges at step 8, 0.003 learns.
    full: { value: 0.003, source: 'a tenth of sgd, since a fused update cannot clip the norm' },
  },
  refusals: {
    lora: 'lomo saves the gradients of full training, and those of adapters are small; use adamw or sgd with lora, or method full',
  },
  isFused: () => true,
  unfused: {
    accumulation: 'optimizer sgd',
    clipping: 'use optimizer.clipValue, which clips each element, or optimizer sgd with maxGradNorm',
  },
  create: ({ weightDecay, clipValue = 0 }, { weightDecayOn }) => plainDescent('lomo', { weightDecay, weightDecayOn, clipValue }),
});
