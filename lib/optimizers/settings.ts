import { z } from 'zod';

/** Settings that several optimizers have, with the same meaning and text. */

export const weightDecay = (value: number) =>
  z
    .number()
    .min(0)
    .default(value)
    .describe('Decoupled weight decay: w shrinks by learningRate x weightDecay per step; norms and biases are spared');

export const fused = z
  .boolean()
  .default(false)
  .describe('Update each weight where its gradient is made, so that no gradient buffer exists. Excludes accumulation and maxGradNorm');
