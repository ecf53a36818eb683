import { z } from 'zod';
import * as ops from '../native/ops.js';
import { defineOptimizer } from './definition.js';
import { decayOf, type ForwardStep } from './optimizer.js';
import { weightDecay } from './settings.js';

/**
 * MeZO (Malladi et al. 2023, arXiv 2305.17333, algorithm 1): gradient descent along a random direction z, whose slope the losses at
 * w + epsilon z and w - epsilon z tell. z is drawn again from its seed wherever it is needed, native/ops/perturb.h, so that
 * training takes the memory of inference.
 */
export const mezo = defineOptimizer({
  name: 'mezo',
  description: 'MeZO (arXiv 2305.17333): two forward passes a step, no backward pass, no gradients, no state',
  settings: {
    perturbation: z
      .number()
      .positive()
      .default(1e-3)
      .describe('Size of the perturbations that the slope is measured with; the paper takes 1e-2 for adapters'),
    weightDecay: weightDecay(0),
  },
  learningRates: {
    lora: { value: 1e-4, source: 'arXiv 2305.17333 for LoRA' },
    full: { value: 1e-6, source: 'arXiv 2305.17333' },
  },
  forwardOnly: true,
  isFused: () => false,
  refuse(_settings, { method, dtype }) {
    if ('dropout' in method && method.dropout > 0)
      return { path: ['method', 'dropout'], message: 'mezo compares losses, which dropout would blur; leave it out, or use adamw' };
    if (method.type === 'full' && (method.dtype ?? dtype) === 'bf16') {
      const message = 'mezo changes weights back and forth by less than bf16 can take back; give method.dtype f32, or use lora or lomo';
      return { path: ['method', 'dtype'], message };
    }
    return undefined;
  },
  create: ({ perturbation: epsilon, weightDecay }, { weightDecayOn }) => ({
    name: 'mezo',
    states: () => [],
    rule: () => undefined,
    forwardStep(step) {
      const { learningRate } = step;
      const above = lossAt(step, epsilon, -epsilon);
      const below = lossAt(step, -2 * epsilon, epsilon);
      const slope = (above - below) / (2 * epsilon);
      // Takes the second perturbation back, then steps.
      step.update((run, p, seed) => {
        const rate = learningRate * p.learningRateFactor;
        const decay = 1 - rate * decayOf(p, weightDecay, weightDecayOn);
        ops.perturb(run, { weight: p.value, shift: epsilon, decay, step: -rate * slope, seed });
      });
      return (above + below) / 2;
    },
  }),
});

/** Loss after all weights moved by `shift` z. Where it is refused for not being finite, they are moved by `back` z again. */
function lossAt({ update, loss }: ForwardStep, shift: number, back: number): number {
  const move = (scale: number) => update((run, p, seed) => ops.perturb(run, { weight: p.value, shift: scale, seed }));
  move(shift);
  try {
    return loss();
  } catch (error) {
    move(back);
    throw error;
  }
}
