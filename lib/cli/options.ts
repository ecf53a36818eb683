import { z } from 'zod';
import { trainConfigSchema } from '../config/schema.js';
import { evaluationSettings } from '../evaluate-options.js';
import { samplingSettings } from '../generate/options.js';

/** Settings of the commands that use a model without training it, in the same form as those of a run. */
const { device, dtype, threads, maxLength, trainOn, appendEos, promptsAsChat, format } = trainConfigSchema.shape;

const model = { device, dtype, threads };
const adapter = z.string().min(1).optional().describe('PEFT adapter folder to put on the model');

export const generateCommandSchema = z.strictObject({ adapter, ...samplingSettings, ...model });

export const evaluateCommandSchema = z.strictObject({ adapter, ...evaluationSettings, ...model });

export const inspectDataCommandSchema = z.strictObject({
  index: z.int().min(0).default(0).describe('Example to show, counted from 0'),
  maxLength,
  trainOn,
  appendEos,
  promptsAsChat,
  format,
});
