import { z } from 'zod';
import { dtype, fraction } from '../config/kinds.js';
import { type UpdateKind, updateKinds } from '../native/ops.js';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { commonRule, decayOf } from './optimizer.js';
import { fused, weightDecay } from './settings.js';

/** AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), in PyTorch's order of operations: native/updates/adamw.h. */
export const adamw = defineOptimizer({
  name: 'adamw',
  description: 'AdamW (arXiv 1711.05101): two state values per trained weight',
  settings: {
    beta1: fraction().default(0.9).describe('Decay of the first moment'),
    beta2: fraction().default(0.999).describe('Decay of the second moment'),
    eps: z.number().positive().default(1e-8).describe('Added to the root of the second moment'),
    weightDecay: weightDecay(0.01),
    fused,
    stateDtype: dtype().default('f32').describe('Storage type of the two moments'),
  },
  learningRates: {
    lora: { value: 2e-4, source: 'ten times that of full training, as is usual for adapters' },
    full: { value: 2e-5, source: 'the usual rate of full fine-tuning with AdamW' },
  },
  ...fusedBySetting,
  create({ beta1, beta2, eps, weightDecay, stateDtype }, { weightDecayOn, accumulator }) {
    const type = accumulator === 'f64' ? 'f64' : stateDtype;
    return {
      name: 'adamw',
      states: (p) => ['exp_avg', 'exp_avg_sq'].map((name) => ({ name, dtype: type, shape: p.shape })),
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
  },
});
