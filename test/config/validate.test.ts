import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../lib/config/resolve.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { FinetuneError } from '../../lib/native/errors.js';

const required = { model: 'm', data: 'd', out: 'o' };
const full = { type: 'full' } as const;
const lomo = { type: 'lomo' } as const;
const fusedAdamw = { type: 'adamw', fused: true } as const;

function problemsOf(settings: Partial<TrainConfigInput>): { path: string; message: string }[] {
  try {
    resolveConfig({ ...required, ...settings });
    return [];
  } catch (error) {
    if (!(error instanceof FinetuneError)) throw error;
    expect(error.code).toBe('ERR_CONFIG_INVALID');
    return error.details['problems'] as { path: string; message: string }[];
  }
}

describe('refused combinations say what to use instead', () => {
  it.each<[string, Partial<TrainConfigInput>, string, RegExp]>([
    ['LOMO with LoRA', { optimizer: lomo }, 'optimizer.type', /use adamw or sgd with lora, or method full/],
    [
      'fused with accumulation',
      { optimizer: fusedAdamw, gradientAccumulationSteps: 4 },
      'gradientAccumulationSteps',
      /batchSize 16 .* or fused false/,
    ],
    [
      'LOMO with accumulation',
      { method: full, optimizer: lomo, gradientAccumulationSteps: 2 },
      'gradientAccumulationSteps',
      /batchSize 8 .* or optimizer sgd/,
    ],
    ['fused with a norm', { optimizer: fusedAdamw, maxGradNorm: 1 }, 'maxGradNorm', /fused false/],
    ['LOMO with a norm', { method: full, optimizer: lomo, maxGradNorm: 1 }, 'maxGradNorm', /exactClip or .*previousNormClip/],
    ['AdaLomo with LoRA', { optimizer: { type: 'adalomo' } }, 'optimizer.type', /use adamw or adafactor with lora/],
    [
      'AdaLomo with accumulation',
      { method: full, optimizer: { type: 'adalomo' }, gradientAccumulationSteps: 2 },
      'gradientAccumulationSteps',
      /batchSize 8 .* or optimizer adafactor/,
    ],
    ['an exact clip of kept gradients', { optimizer: { type: 'lion', exactClip: true } }, 'optimizer.exactClip', /drop it or set fused/],
    [
      'two ways to clip',
      { method: full, optimizer: { ...lomo, exactClip: true, previousNormClip: true } },
      'optimizer.exactClip',
      /give one of them/,
    ],
    [
      'a clip at nothing',
      { method: full, optimizer: { ...lomo, previousNormClip: true }, maxGradNorm: 0 },
      'optimizer.previousNormClip',
      /maxGradNorm is 0/,
    ],
    ['Nesterov without momentum', { optimizer: { type: 'sgd', nesterov: true } }, 'optimizer.nesterov', /set optimizer.momentum/],
    ['recomputation by budget without a budget', { checkpointing: 'auto' }, 'checkpointing', /memoryLimit.*set it/],
    ['block inputs offloaded where there are none', { offload: { activations: true } }, 'offload.activations', /checkpointing to block/],
    ['gradients offloaded that nobody keeps', { optimizer: fusedAdamw, offload: { gradients: true } }, 'offload.gradients', /drop it/],
    ['BAdam with LoRA', { optimizer: { type: 'badam' } }, 'optimizer.type', /use adamw with lora, or method full/],
    ['LISA with LoRA', { optimizer: { type: 'lisa' } }, 'optimizer.type', /use adamw with lora, or method full/],
    [
      'BAdam on some layers',
      { method: { ...full, trainLastLayers: 2 }, optimizer: { type: 'badam' } },
      'method.trainLastLayers',
      /leave it out, or use adamw/,
    ],
    [
      'LISA on some layers',
      { method: { ...full, trainLastLayers: 2 }, optimizer: { type: 'lisa' } },
      'method.trainLastLayers',
      /leave it out, or use adamw/,
    ],
    [
      'fused LISA with accumulation',
      { method: full, optimizer: { type: 'lisa', fused: true }, gradientAccumulationSteps: 2 },
      'gradientAccumulationSteps',
      /batchSize 8 .* or fused false/,
    ],
    ['MeZO with a norm', { method: full, optimizer: { type: 'mezo' }, maxGradNorm: 1 }, 'maxGradNorm', /no gradient/],
    ['MeZO with dropout', { method: { type: 'lora', dropout: 0.1 }, optimizer: { type: 'mezo' } }, 'method.dropout', /leave it out/],
    ['MeZO on bf16 weights', { method: full, dtype: 'bf16', optimizer: { type: 'mezo' } }, 'method.dtype', /give method.dtype f32/],
    ['epochs with maxSteps', { epochs: 2, maxSteps: 10 }, 'maxSteps', /give one of them/],
    ['two warm-ups', { schedule: { warmupSteps: 5, warmupRatio: 0.1 } }, 'schedule.warmupRatio', /give one of them/],
    ['a warm-up longer than the run', { schedule: { warmupSteps: 11 }, maxSteps: 10 }, 'schedule.warmupSteps', /longer than the run of 10/],
    ['two sources of held-out data', { validationData: 'v', validationSplit: 0.1 }, 'validationSplit', /give one of them/],
    ['a split of one row and a half', { validationSplit: 1.5 }, 'validationSplit', /whole number of rows/],
    ['evaluation without data', { evaluation: { everySteps: 5 } }, 'evaluation.everySteps', /validationData or validationSplit/],
    ['early stopping without data', { evaluation: { earlyStoppingPatience: 5 } }, 'evaluation.earlyStoppingPatience', /validationData/],
    ['keepBest without data', { evaluation: { keepBest: true } }, 'evaluation.keepBest', /validationData/],
    ['resume with overwrite', { resume: true, overwrite: true }, 'overwrite', /drop one/],
    ['out over the model', { out: './m/' }, 'out', /another folder/],
    ['a limit of nothing', { memoryLimit: '0GiB' }, 'memoryLimit', /at least one byte/],
    [
      'a pattern that is no expression',
      { method: { type: 'lora', rankPattern: { '(': 4 } } },
      'method.rankPattern.(',
      /regular expression/,
    ],
  ])('%s', (_, settings, path, message) => {
    const problems = problemsOf(settings);
    expect(problems.map((problem) => problem.path)).toEqual([path]);
    expect(problems[0]?.message).toMatch(message);
  });

  it.each<[string, Partial<TrainConfigInput>]>([
    ['LOMO alone', { method: full, optimizer: lomo }],
    ['LOMO with an explicit "no clipping"', { method: full, optimizer: lomo, maxGradNorm: 0 }],
    ['MeZO over several micro-batches', { method: full, optimizer: { type: 'mezo' }, gradientAccumulationSteps: 4 }],
    ['MeZO with bf16 activations', { method: { ...full, dtype: 'f32' }, dtype: 'bf16', optimizer: { type: 'mezo' } }],
    ['LOMO clipped exactly', { method: full, optimizer: { ...lomo, exactClip: true }, maxGradNorm: 2 }],
    ['fused AdamW clipped by the step before', { optimizer: { ...fusedAdamw, previousNormClip: true } }],
    ['fused AdamW on adapters', { optimizer: fusedAdamw }],
    ['accumulation with a norm', { gradientAccumulationSteps: 4, maxGradNorm: 1 }],
    ['evaluation on a split', { validationSplit: 0.1, evaluation: { everySteps: 5, earlyStoppingPatience: 2, keepBest: true } }],
    ['a warm-up by ratio', { schedule: { type: 'cosine', warmupRatio: 0.1 } }],
  ])('%s is fine', (_, settings) => {
    expect(problemsOf(settings)).toEqual([]);
  });

  it.each(['muon', 'galore', 'apollo', 'apollo-mini'] as const)('%s with LoRA', (type) => {
    const [problem] = problemsOf({ optimizer: { type } });
    expect(problem?.path).toBe('optimizer.type');
    expect(problem?.message).toMatch(/whole weight matrices.* use adamw with lora, or method full/);
    expect(problemsOf({ method: full, optimizer: { type } })).toEqual([]);
  });

  it('lists all of them', () => {
    const settings = { method: full, optimizer: lomo, maxGradNorm: 1, gradientAccumulationSteps: 2, epochs: 1, maxSteps: 1 };
    expect(problemsOf(settings).map(({ path }) => path)).toEqual(['gradientAccumulationSteps', 'maxGradNorm', 'maxSteps']);
  });
});

describe('settings of another type', () => {
  it('are named with the types that have them', () => {
    const problems = problemsOf({ method: { type: 'full', rank: 8 } as never });
    expect(problems).toMatchObject([{ path: 'method.rank', message: 'not a setting of method full, only of lora and dora' }]);
    expect(problemsOf({ optimizer: { type: 'lomo', fused: true } as never })[0]?.message).toBe(
      'not a setting of optimizer lomo, only of adamw, sgd, lion, signsgd, adafactor, muon, galore, apollo, apollo-mini, badam and lisa',
    );
  });

  it('a name from elsewhere gets its full path', () => {
    expect(problemsOf({ warmupSteps: 3 } as never)).toMatchObject([{ path: 'warmupSteps', suggestion: 'schedule.warmupSteps' }]);
  });
});
