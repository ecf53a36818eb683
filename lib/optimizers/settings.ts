import { z } from 'zod';
import { count, fraction } from '../config/kinds.js';
import { stateDtypes } from './state.js';

/** Settings that several optimizers have. Those of one name share one help text. */

export const beta1 = (value: number) =>
  fraction().default(value).describe('Decay of the first moment; lion: share of the momentum in a step');

export const beta2 = (value: number) => fraction().default(value).describe('Decay of the second moment; lion: of the momentum');

export const momentum = (value: number) => fraction().default(value).describe('Decay of the momentum; 0 keeps none, and no state');

export const nesterov = (value: boolean) =>
  z.boolean().default(value).describe("Nesterov's momentum: the step looks ahead by one momentum");

export const eps = (value: number) => z.number().positive().default(value).describe('Added to the root of the second moment');

export const weightDecay = (value: number) =>
  z
    .number()
    .min(0)
    .default(value)
    .describe('Decoupled weight decay: w shrinks by learningRate x weightDecay per step; norms and biases are spared');

export const switchEvery = (value: number) =>
  count().default(value).describe('Steps until other blocks of the model train; their states start anew');

/** How an optimizer that keeps no gradients can clip their global norm. */
export const fusedClipping = {
  exactClip: z
    .boolean()
    .default(false)
    .describe('Fused updates: clip at maxGradNorm by the norm of a backward pass of its own, at twice the time'),
  previousNormClip: z
    .boolean()
    .default(false)
    .describe('Fused updates: clip at maxGradNorm by the norm of the step before; the first step is not clipped'),
};

/** For optimizers that work on kept gradients as well as fused. */
export const fusedSettings = {
  fused: z
    .boolean()
    .default(false)
    .describe('Update each weight where its gradient is made, so that no gradient buffer exists. Excludes accumulation'),
  ...fusedClipping,
};

export const clipThreshold = z
  .number()
  .positive()
  .default(1)
  .describe('Largest root mean square of an update of a weight, before the learning rate');

export const projectionRank = (value: number) =>
  count().default(value).describe('Directions that the gradient of a weight is projected to; at most its shorter side');

export const projectionGap = count().default(200).describe('Steps from one projection of a weight to the next');

export const apolloScale = (value: number) =>
  z.number().positive().default(value).describe('Its root is the factor on the updates of projected weights');

export const stateDtype = z
  .enum(stateDtypes)
  .default('f32')
  .describe(
    'Storage type of the state; 8bit and 4bit: codes in blocks (arXiv 2110.02861, 2309.01507), f32 for weights below 4096 elements',
  );
