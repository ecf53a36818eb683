import { z } from 'zod';

/** Settings of generation, once for the library and the command line. */
export const samplingSettings = {
  maxNewTokens: z.int().min(1).default(256).describe('Stop after this many tokens'),
  temperature: z.number().min(0).max(100).default(0).describe('0 takes the likeliest token; higher is more random'),
  topK: z.int().min(0).default(0).describe('Draw from the k likeliest tokens; 0 is off'),
  topP: z.number().positive().max(1).default(1).describe('Draw from the likeliest tokens that together have this probability'),
  seed: z.int().min(0).max(0xffffffff).default(42).describe('Seed of the draws'),
};

export const generateOptionsSchema = z.strictObject({
  ...samplingSettings,
  stopStrings: z.array(z.string().min(1)).default([]).describe('Stop before the first of these texts'),
});

/** Settings of `generate`; everything may be left out. */
export type GenerateOptions = z.input<typeof generateOptionsSchema> & {
  /** Ends the generation with the signal's reason. */
  signal?: AbortSignal;
};

export type ResolvedGenerateOptions = z.output<typeof generateOptionsSchema>;
