import { z } from 'zod';
import { type MethodConfig, methodSchema } from '../methods/index.js';
import { type OptimizerConfig, optimizerSchema } from '../optimizers/index.js';
import { count, dtype, path } from './kinds.js';
import { sizePattern } from './size.js';

/**
 * The settings of a run, written once: types, defaults, ranges and help texts; those of methods and optimizers in their own files
 * (methods/, optimizers/). Command-line flags (flags.ts), the JSON Schema
 * (json-schema.ts) and error messages (problems.ts) are printed from this. It stays free of transforms, so that it has a JSON Schema;
 * defaults that depend on other settings are filled in by defaults.ts, and combinations are refused by validate.ts.
 */

const scheduleSchema = z.strictObject({
  type: z.enum(['constant', 'linear', 'cosine']).default('constant').describe('Course of the learning rate after the warm-up'),
  warmupSteps: z.int().min(0).default(0).describe('Steps of linear warm-up from 0'),
  warmupRatio: z.number().min(0).max(1).optional().describe('Warm-up as a share of all steps, instead of warmupSteps'),
  minLearningRateRatio: z.number().min(0).max(1).default(0).describe('Where linear and cosine end, as a share of the learning rate'),
});

const checkpointSchema = z.strictObject({
  everySteps: count().optional().describe('Write a checkpoint every N steps. Default: only when stopped'),
  keep: count().default(2).describe('Keep the newest N checkpoints'),
  dir: path().optional().describe('Folder of the checkpoints. Default: checkpoints inside out'),
});

const offloadSchema = z.strictObject({
  weights: z
    .boolean()
    .default(false)
    .describe(
      'Weights that are trained or quantized on load in scratch files: slow, and no private memory; trained whole, they become the result',
    ),
  gradients: z.boolean().default(false).describe('Kept gradients in a scratch file; fused updates keep none'),
  optimizer: z.boolean().default(false).describe('Optimizer states in a scratch file'),
  activations: z.boolean().default(false).describe('Block inputs of checkpointing in a scratch file'),
  dir: path().optional().describe('Folder of scratch files, on a disk; they vanish with the run. Default: out'),
});

const evaluationSchema = z.strictObject({
  everySteps: count().optional().describe('Evaluate every N steps. Default: at the end of every epoch and of the run'),
  earlyStoppingPatience: count().optional().describe('Stop after N evaluations in a row without a new best loss'),
  keepBest: z.boolean().default(false).describe('Write the weights of the best evaluation to out instead of the last ones'),
});

export const dataFormats = ['auto', 'messages', 'prompt-completion', 'alpaca', 'sharegpt', 'text', 'tokenized'] as const;

export const trainConfigSchema = z.strictObject({
  model: path().describe('Model: a Hugging Face folder or a GGUF file'),
  data: path().describe('Training data: a JSONL or plain text file'),
  out: path().describe('Folder for the result: an adapter (lora) or a model (full)'),
  validationData: path().optional().describe('Held-out data, in the same formats as data'),
  validationSplit: z
    .number()
    .min(0)
    .default(0)
    .describe('Rows of data that are held out instead, drawn with the seed: a share below 1, or a number of rows'),

  quantize: z
    .enum(['nf4', 'int8'])
    .optional()
    .describe('Quantize the linear layers of the blocks on load: nf4 (QLoRA, arXiv 2305.14314) or int8, in blocks of 64. Default: off'),
  doubleQuantization: z
    .boolean()
    .default(true)
    .describe('Keep the scales of nf4 in 8 bits too: 4.13 bits a weight and some bytes a row instead of 4.5'),
  method: methodSchema.prefault({ type: 'lora' }).describe('What is trained'),
  optimizer: optimizerSchema.prefault({ type: 'adamw' }).describe('How gradients become updates'),
  learningRate: z
    .union([z.literal('auto'), z.number().positive()])
    .default('auto')
    .describe('Peak learning rate'),
  schedule: scheduleSchema.prefault({}).describe('Learning rate over the steps'),

  epochs: count().optional().describe('Passes over the data. Default: 1'),
  maxSteps: count().optional().describe('Optimizer steps, instead of epochs'),
  batchSize: count().default(4).describe('Rows of maxLength tokens per forward pass'),
  gradientAccumulationSteps: count().default(1).describe('Forward passes per optimizer step'),
  maxLength: z.int().min(2).default(1024).describe('Tokens per row; longer examples are cut at the end'),
  packing: z.boolean().default(true).describe('Fill rows with several examples, which do not see each other'),
  shuffle: z.boolean().default(true).describe('Shuffle the examples anew every epoch; off keeps file order'),
  maxGradNorm: z
    .number()
    .min(0)
    .optional()
    .describe('Clip the global gradient norm; 0 is off. Default: 1.0, off when fused or without gradients'),
  trainOn: z.enum(['completion', 'all']).default('completion').describe('Tokens that carry loss: completions and assistant turns, or all'),
  appendEos: z.boolean().default(true).describe('End text and completions with the EOS token, so that the model learns to stop'),
  promptsAsChat: z.boolean().default(false).describe('Give prompt and completion to the chat template as a user and an assistant turn'),
  format: z.enum(dataFormats).default('auto').describe('Format of the data; auto looks at the first rows'),

  device: z.enum(['auto', 'cpu']).default('auto').describe('Device to run on'),
  dtype: dtype().default('f32').describe('Type of activations and of the operands of matrix products'),
  threads: count().max(1024).optional().describe('CPU threads; results do not depend on it. Default: one per core'),
  seed: z.int().min(0).max(0xffffffff).default(42).describe('Seed of everything random'),
  checkpointing: z
    .union([z.enum(['none', 'block', 'auto']), count()])
    .default('none')
    .describe(
      'Recompute activations from the inputs of all blocks or of every Nth; auto: the least of none, block, 2, 3, ... within memoryLimit',
    ),
  mlpTileRows: z
    .int()
    .min(32)
    .optional()
    .describe('Run the MLP of every block on this many tokens at a time, for long rows; gate and up are made again. Default: all'),
  offload: offloadSchema.prefault({}).describe('What is kept on the disk instead of in private memory; results are the same'),
  stochasticRounding: z
    .boolean()
    .default(true)
    .describe('Round updates of bf16 weights up or down at random, so that small ones are not lost'),
  memoryLimit: z
    .union([z.int().positive(), z.string().regex(sizePattern)])
    .optional()
    .describe('Refuse to start when the plan needs more: bytes, or a size such as 8GiB. Default: no limit'),

  checkpoint: checkpointSchema.prefault({}).describe('Checkpoints to resume from'),
  evaluation: evaluationSchema.prefault({}).describe('Evaluation on held-out data'),
  logEverySteps: count().default(1).describe('Report every N-th step'),
  overwrite: z.boolean().default(false).describe('Replace out if it exists'),
  resume: z
    .union([z.literal(true), path()])
    .optional()
    .describe('Continue from a checkpoint folder, or from the newest one of this run'),
  cacheDir: path().optional().describe('Folder of tokenized data. Default: the cache folder of the system'),
});

/** What a plan needs of it: no data, nowhere to write to. */
export const planConfigSchema = trainConfigSchema.extend({
  data: trainConfigSchema.shape.data.optional(),
  out: trainConfigSchema.shape.out.optional(),
});

/** What can be checked while required settings are still missing. */
export const looseConfigSchema = planConfigSchema.extend({ model: trainConfigSchema.shape.model.optional() });

/** What a user may write: everything with a default may be left out. */
export type TrainConfigInput = z.input<typeof trainConfigSchema>;
export type PlanConfigInput = z.input<typeof planConfigSchema>;

export type { MethodConfig, OptimizerConfig };
export type LoraConfig = Extract<MethodConfig, { type: 'lora' }>;
export type FullConfig = Extract<MethodConfig, { type: 'full' }>;
export type ScheduleConfig = z.output<typeof scheduleSchema>;
export type DataFormatName = (typeof dataFormats)[number];

/** The schema's output, before defaults.ts resolves what depends on other settings. */
export type ParsedConfig = z.output<typeof planConfigSchema>;
export type LooseConfig = z.output<typeof looseConfigSchema>;
