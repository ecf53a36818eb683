import { z } from 'zod';
import { defineOptimizer, fusedBySetting, type OptimizerContext } from './definition.js';
import { decayOf, elementRule, type Optimizer } from './optimizer.js';
import { beta1, beta2, fusedSettings, stateDtype, weightDecay } from './settings.js';
import { ElementStates } from './state.js';

/** Settings of AdamW, also of what trains a part of the model at a time by it. */
export const adamwSettings = {
  beta1: beta1(0.9),
  beta2: beta2(0.999),
  eps: z.number().positive().default(1e-8).describe('Added to the root of the second moment'),
  weightDecay: weightDecay(0.01),
  ...fusedSettings,
  stateDtype,
};

/** AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), in PyTorch's order of operations: native/updates/adamw.h. */
export function adamwOptimizer(
  name: string,
  { beta1, beta2, eps, weightDecay, stateDtype }: z.output<z.ZodObject<typeof adamwSettings>>,
  context: OptimizerContext,
): Optimizer {
  const states = new ElementStates(['exp_avg', 'exp_avg_sq'], stateDtype, context);
  return {
    name,
    states: (p) => states.specs(p),
    rule: (p, tensors, step) => ({
      ...elementRule('adamw', step),
      ...states.arguments(p, tensors),
      weightDecay: decayOf(p, weightDecay, context.weightDecayOn),
      hyper0: beta1,
      hyper1: beta2,
      hyper2: eps,
    }),
  };
}

export const adamw = defineOptimizer({
  name: 'adamw',
  description: 'AdamW (arXiv 1711.05101): two state values per trained weight',
  settings: adamwSettings,
  learningRates: {
    lora: { value: 2e-4, source: 'ten times that of full training, as is usual for adapters' },
    full: { value: 2e-5, source: 'the usual rate of full fine-tuning with AdamW' },
  },
  ...fusedBySetting,
  create: (settings, context) => adamwOptimizer('adamw', settings, context),
});
