import { defineOptimizer, fusedBySetting, type OptimizerContext } from './definition.js';
import { decayOf, elementRule, type Optimizer } from './optimizer.js';
import { beta1, beta2, eps, fusedSettings, stateDtype, weightDecay } from './settings.js';
import { ElementStates, type StateDtype } from './state.js';

/** Settings of AdamW, also of what trains a part of the model at a time by it. */
export const adamwSettings = {
  beta1: beta1(0.9),
  beta2: beta2(0.999),
  eps: eps(1e-8),
  weightDecay: weightDecay(0.01),
  ...fusedSettings,
  stateDtype,
};

/** AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), in PyTorch's order of operations: native/updates/adamw.h. */
export const adamw = defineOptimizer({
  name: 'adamw',
  description: 'AdamW (arXiv 1711.05101): two state values per trained weight',
  settings: adamwSettings,
  learningRates: {
    lora: { value: 2e-4, source: 'ten times that of full training, as is usual for adapters' },
    full: { value: 2e-5, source: 'the usual rate of full fine-tuning with AdamW' },
  },
  ...fusedBySetting,
  create: (settings, context) => adamwOptimizer(settings, context),
});

/** AdamW's rule, which other optimizers use for what is not theirs, or under a name of their own. */
export function adamwOptimizer(
  settings: { beta1: number; beta2: number; eps: number; weightDecay: number; stateDtype: StateDtype },
  context: OptimizerContext,
  name = 'adamw',
): Optimizer {
  const { beta1, beta2, eps, weightDecay, stateDtype } = settings;
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
