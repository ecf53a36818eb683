import { z } from 'zod';
import { trainConfigSchema } from './config/schema.js';

const { maxLength, batchSize, packing, trainOn, appendEos, promptsAsChat, format, cacheDir } = trainConfigSchema.shape;

/** Settings of evaluation, once for the library and the command line; as in a training run. */
export const evaluationSettings = { maxLength, batchSize, packing, trainOn, appendEos, promptsAsChat, format };

export const evaluateOptionsSchema = z.strictObject({
  ...evaluationSettings,
  cacheDir,
  logits: z.string().min(1).optional().describe('Also write the logits of every token to this safetensors file'),
});

/** Settings of `evaluate`; everything may be left out. */
export type EvaluateOptions = z.input<typeof evaluateOptionsSchema> & {
  /** Looked at between batches. */
  signal?: AbortSignal;
};
