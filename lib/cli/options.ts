import { z } from 'zod';
import { trainConfigSchema } from '../config/schema.js';

/** Settings of the commands that use a model without training it, in the same form as those of a run. */
const { device, dtype, threads, maxLength, batchSize, trainOn, appendEos, promptsAsChat, format, packing } = trainConfigSchema.shape;

const model = { device, dtype, threads };
const adapter = z.string().min(1).optional().describe('PEFT adapter folder to put on the model');

const sampling = {
  maxNewTokens: z.int().min(1).default(256).describe('Stop after this many tokens'),
  temperature: z.number().min(0).max(100).default(0).describe('0 takes the likeliest token; higher is more random'),
  topK: z.int().min(0).default(0).describe('Draw from the k likeliest tokens; 0 is off'),
  topP: z.number().positive().max(1).default(1).describe('Draw from the likeliest tokens that together have this probability'),
  seed: z.int().min(0).max(0xffffffff).default(42).describe('Seed of the draws'),
};

export const generateOptionsSchema = z.strictObject(sampling);
export type GenerateOptions = z.output<typeof generateOptionsSchema>;

export const generateCommandSchema = z.strictObject({ adapter, ...sampling, ...model });

export const evaluateOptionsSchema = z.strictObject({ maxLength, batchSize, packing, trainOn, appendEos, promptsAsChat, format });
export type EvaluateOptions = z.output<typeof evaluateOptionsSchema> & { logits?: string };

export const evaluateCommandSchema = z.strictObject({ adapter, ...evaluateOptionsSchema.shape, ...model });

export const inspectDataCommandSchema = z.strictObject({
  index: z.int().min(0).default(0).describe('Example to show, counted from 0'),
  maxLength,
  trainOn,
  appendEos,
  promptsAsChat,
  format,
});

export type InspectDataOptions = z.output<typeof inspectDataCommandSchema> & {
  model: string;
  data: string;
  /** Example to show, counted from 0. */
  index: number;
};

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}
