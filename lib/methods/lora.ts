import { z } from 'zod';
import { count, fraction, path, type Refusal } from '../config/kinds.js';
import { nameStream, randomKey } from '../core/rng.js';
import { readAdapter } from '../formats/peft-adapter.js';
import type { Linear } from '../layers/linear.js';
import type { CausalLm } from '../models/causal-lm.js';
import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';
import { LoraAdapter, loraScale } from './lora-adapter.js';
import { attachLora } from './lora-load.js';
import { loraPeftConfig } from './lora-peft.js';
import { type AppliedMethod, defineMethod, type MethodOptions, type TrainedParameter, trainLastLayers } from './method.js';
import { patternValue, selectTargets, targetsHelp } from './targets.js';
import { firstTrainedLayer } from './train-last-layers.js';

const settings = {
  rank: count().max(4096).default(16).describe('Rank r of the adapters'),
  alpha: z.number().positive().default(32).describe('Scale numerator: the update is alpha / rank x B A'),
  dropout: fraction().default(0).describe('Dropout probability on the adapter input'),
  targets: z
    .union([z.literal('all-linear'), z.array(z.string().min(1)).min(1)])
    .default('all-linear')
    .describe(targetsHelp),
  rankPattern: z
    .record(z.string(), count().max(4096))
    .default({})
    .describe('Other ranks by layer: a name or a regular expression, as in peft'),
  alphaPattern: z
    .record(z.string(), z.number().positive())
    .default({})
    .describe('Other alphas by layer: a name or a regular expression, as in peft'),
  useRslora: z.boolean().default(false).describe('Scale by alpha / sqrt(rank) instead of alpha / rank (arXiv 2312.03732)'),
  init: z
    .enum(['kaiming', 'gaussian'])
    .default('kaiming')
    .describe('How A starts: uniform within 1 / sqrt(in), or normal with deviation 1 / rank'),
  loraPlusRatio: z
    .number()
    .positive()
    .default(1)
    .describe('Learning rate of B, and of lengths, as a multiple of that of A (LoRA+, arXiv 2402.12354, which takes 16)'),
  freezeA: z.boolean().default(false).describe('Leave A as it starts and train B alone (LoRA-FA, arXiv 2308.03303)'),
  initAdapter: path().optional().describe('Start from this PEFT adapter folder instead of a fresh adapter'),
  trainLastLayers,
};

export const loraSettings = settings;
export type LoraSettings = z.output<z.ZodObject<typeof settings>>;

/**
 * LoRA (Hu et al. 2021, arXiv 2106.09685) and rsLoRA (Kalajdzievski 2023, arXiv 2312.03732) on linear layers of the blocks.
 * A starts uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5, as peft), B at zero: the model is unchanged at the first step.
 */
export const lora = defineMethod({
  name: 'lora',
  description: 'Low-rank adapters on frozen weights (arXiv 2106.09685)',
  settings,
  like: 'lora',
  refuse: refuseLora,
  // Adapters are small and stay f32 over a bf16 base, as peft does.
  trainedDtype: () => 'f32',
  peftConfig: loraPeftConfig,

  apply(model, config, options) {
    if (config.initAdapter !== undefined) return withVariants(continueAdapter(model, config.initAdapter, config.dropout, options), config);
    const adapt = (linear: Linear): TrainedParameter[] => {
      const adapter = LoraAdapter.create(linear, { ...scaleOf(linear, config), dropout: config.dropout, dtype: options.dtype });
      linear.adapter = adapter;
      return lowRankStart(adapter, linear, config, options);
    };
    return withVariants({ trained: targetsOf(model, config).flatMap(adapt) }, config);
  },
});

type LowRankSettings = Omit<LoraSettings, 'dropout'>;

/** What is wrong with the settings of a low-rank adapter beyond their types. */
export function refuseLora(config: LowRankSettings): Refusal | undefined {
  for (const name of ['rankPattern', 'alphaPattern'] as const) {
    const bad = Object.keys(config[name]).find((pattern) => !isPattern(pattern));
    if (bad !== undefined) return { path: ['method', name, bad], message: 'wanted a layer name or a regular expression' };
  }
  return undefined;
}

function isPattern(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return pattern !== '';
  } catch {
    return false;
  }
}

/** The layers that get an adapter. */
export function targetsOf(model: CausalLm, config: LowRankSettings): Linear[] {
  const blocks = model.blocks.slice(firstTrainedLayer(model, config.trainLastLayers));
  return selectTargets(
    blocks.flatMap((b) => [...b.linears()]),
    config.targets,
  );
}

/** Rank and scale of a layer's adapter. */
export function scaleOf({ path }: Linear, config: LowRankSettings): { rank: number; scale: number } {
  const rank = patternValue(path, config.rankPattern) ?? config.rank;
  const alpha = patternValue(path, config.alphaPattern) ?? config.alpha;
  return { rank, scale: loraScale(alpha, rank, config.useRslora) };
}

/** How A and B start. */
export function lowRankStart(
  { a, b, rank }: LoraAdapter,
  linear: Linear,
  config: LowRankSettings,
  options: MethodOptions,
): TrainedParameter[] {
  const { dtype, seed } = options;
  const bound = 1 / Math.sqrt(linear.inFeatures);
  const start = config.init === 'gaussian' ? { kind: 1, low: 0, high: 1 / rank } : { low: -bound, high: bound };
  return [
    {
      parameter: a,
      dtype,
      initialize: (y, context) => ops.randomFill(context, { y, ...start, seed: randomKey(seed, nameStream(a.name)) }),
    },
    { parameter: b, dtype, initialize: (y, context) => ops.fill(context, { y, value: 0 }) },
  ];
}

/** What trains of an adapter, and how fast: LoRA+ and LoRA-FA. */
export function withVariants(applied: AppliedMethod, { freezeA, loraPlusRatio }: LowRankSettings): AppliedMethod {
  const isA = ({ parameter }: TrainedParameter) => parameter.name.endsWith('.lora_A.weight');
  for (const t of applied.trained) if (!isA(t)) t.parameter.learningRateFactor = loraPlusRatio;
  if (!freezeA) return applied;
  const kept = applied.trained.filter(isA);
  for (const { parameter } of kept) parameter.trainable = false;
  const frozen = [...kept.map((t) => ({ ...t, saved: true })), ...(applied.frozen ?? [])];
  return { ...applied, trained: applied.trained.filter((t) => !isA(t)), frozen };
}

// An adapter that is continued brings its own targets, ranks and scales.
function continueAdapter(model: CausalLm, path: string, dropout: number, { dtype }: MethodOptions): AppliedMethod {
  const adapter = readAdapter(path);
  if (!adapter.config.use_dora)
    return { ...attachLora(model, adapter, { dropout, dtype, trainable: true }), release: () => adapter.close() };
  adapter.close();
  throw new FinetuneError('ERR_CONFIG_INVALID', `method.initAdapter: ${path} is a DoRA adapter; use method dora`);
}
