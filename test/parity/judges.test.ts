import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import type { PlanConfigInput } from '../../lib/config/schema.js';
import { openModel } from '../../lib/formats/model-source.js';
import { loadModel } from '../../lib/model.js';
import { saveResult } from '../../lib/trainer/save-result.js';
import { hasShared, sharedPath } from '../shared.js';
import { fixtureNames, fixturePath, pack, readExpected } from './fixture.js';
import { distanceFromJudge, hasPython, judge, writeInput } from './judge.js';
import { logitsOf, openSession, product } from './model-session.js';
import { initialAdapter } from './trajectory.js';

type Method = Exclude<PlanConfigInput['method'], undefined>;

const { sequences, labels } = readExpected('llama');
const stories = sharedPath('models', 'stories260K');
const folder = mkdtempSync(join(tmpdir(), 'node-finetune-judges-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Trains some steps, saves to `out`, and returns the logits of each sequence. */
function trainAndSave(model: string, method: Method, steps: number, out: string): ArrayLike<number>[] {
  const options = { method, learningRate: 0.01 };
  const batch = pack(sequences, labels);
  const session = openSession(model, options, [batch], product);
  const source = openModel(model, { weights: false });
  const losses = Array.from({ length: steps }, (_, i) => session.step([batch], i + 1, 0.01).loss);
  // Otherwise logits would agree without the weights that were written.
  expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.01);
  saveResult(session, source, resolvePlanConfig({ model, ...options }), out, { overwrite: false });
  const logits = sequences.map((ids) => logitsOf(session, pack([ids], [ids]), product));
  session.dispose();
  return logits;
}

interface Case {
  name: string;
  model: string;
  method: Method;
  steps: number;
}

const lora = { type: 'lora', rank: 4, alpha: 8 } as const;
const adapters: Case[] = [
  ...fixtureNames.map((name) => ({ name: `all linear layers of ${name}`, model: fixturePath(name), method: lora, steps: 3 })),
  { name: 'DoRA beside biases', model: fixturePath('llama-bias'), method: { ...lora, type: 'dora' as const }, steps: 3 },
  { name: 'DoRA of fused layers', model: fixturePath('phi3'), method: { type: 'dora', rank: 3, useRslora: true, freezeA: true }, steps: 3 },
  ...['llama-bias', 'gemma2', 'phi3'].map((name) => ({
    name: `IA3 of ${name}`,
    model: fixturePath(name),
    method: { type: 'ia3' as const, targets: ['*_proj'], feedForwardTargets: ['o_proj', 'down_proj'] },
    steps: 5,
  })),
  ...['llama', 'qwen3', 'gemma2'].map((name) => ({
    name: `norms of ${name}`,
    model: fixturePath(name),
    method: { type: 'norms' as const },
    steps: 5,
  })),
  ...(hasShared
    ? [
        {
          name: 'some targets, ranks and alphas by pattern, rsLoRA',
          model: stories,
          method: {
            ...lora,
            targets: ['q_proj', 'o_proj', 'down_proj'],
            rankPattern: { 'layers.1.self_attn.q_proj': 2, o_proj: 6 },
            alphaPattern: { down_proj: 3 },
            useRslora: true,
          },
          steps: 3,
        },
        { name: 'a wildcard target', model: stories, method: { ...lora, targets: ['layers.*.mlp.up_proj', 'k_proj'] }, steps: 3 },
        { name: 'the last two layers', model: stories, method: { ...lora, trainLastLayers: 2 }, steps: 3 },
        { name: 'a foreign adapter, continued', model: stories, method: { type: 'lora' as const, initAdapter: initialAdapter }, steps: 3 },
      ]
    : []),
];
const models: Case[] = [
  ...fixtureNames.map((name) => ({ name, model: fixturePath(name), method: { type: 'full', dtype: 'f32' } as const, steps: 3 })),
  { name: 'biases alone', model: fixturePath('llama-bias'), method: { type: 'bitfit' }, steps: 5 },
];

describe.skipIf(!hasPython).each([
  { kind: 'adapters', reader: 'peft', cases: adapters },
  { kind: 'merged models', reader: 'transformers', cases: adapters },
  { kind: 'trained models', reader: 'transformers', cases: models },
])('$reader loads our $kind and gives our logits', ({ kind, cases }) => {
  const logits = new Map<string, ArrayLike<number>[]>();
  const path = (i: number) => join(folder, `${kind}-${i}`);
  const file = (i: number) => `${path(i)}.safetensors`;

  async function whatToJudge(model: string, out: string): Promise<{ model: string; adapter?: string }> {
    if (kind === 'adapters') return { model, adapter: out };
    if (kind === 'trained models') return { model: out };
    await using loaded = await loadModel({ path: model, adapter: out });
    const { out: merged } = await loaded.merge(`${out}-merged`);
    return { model: merged };
  }

  beforeAll(async () => {
    const ids = writeInput(folder, 'ids.json', sequences);
    const jobs: object[] = [];
    for (const [i, { name, model, method, steps }] of cases.entries()) {
      logits.set(name, trainAndSave(model, method, steps, path(i)));
      jobs.push({ ...(await whatToJudge(model, path(i))), ids, out: file(i) });
    }
    judge('peft_logits.py', folder, jobs);
  }, 300_000);

  test.each(cases.map((c, i) => ({ ...c, i })))('$name', ({ name, i }) => {
    expect(distanceFromJudge(logits.get(name) ?? [], file(i))).toBeLessThan(1e-4);
  });
});

const foreign: { name: string; method?: 'dora' | 'ia3' | 'norms'; options: Record<string, unknown> }[] = [
  { name: 'plain', options: { r: 8, lora_alpha: 16, target_modules: 'all-linear' } },
  { name: 'rsLoRA', options: { r: 4, lora_alpha: 6, target_modules: ['v_proj', 'gate_proj'], use_rslora: true } },
  {
    name: 'rank and alpha by pattern',
    options: {
      r: 4,
      lora_alpha: 12,
      target_modules: ['q_proj', 'down_proj', 'o_proj'],
      rank_pattern: { 'layers.1.self_attn.q_proj': 2, o_proj: 6 },
      alpha_pattern: { down_proj: 3, '.*\\.2\\.self_attn\\.o_proj': 5 },
      use_rslora: true,
    },
  },
  { name: 'targets by regular expression', options: { r: 3, lora_alpha: 5, target_modules: '.*\\.[13]\\.(mlp\\.up|self_attn\\.k)_proj' } },
  { name: 'layers to transform', options: { r: 4, lora_alpha: 8, target_modules: ['q_proj', 'up_proj'], layers_to_transform: [0, 3] } },
  { name: 'bf16 storage', options: { r: 8, lora_alpha: 16, target_modules: 'all-linear', storage: 'bfloat16' } },
  { name: 'f16 storage', options: { r: 8, lora_alpha: 16, target_modules: 'all-linear', storage: 'float16' } },
  { name: 'DoRA', method: 'dora', options: { r: 4, lora_alpha: 6, target_modules: ['q_proj', 'down_proj'], use_dora: true } },
  {
    name: 'IA3',
    method: 'ia3',
    options: { peft_type: 'IA3', target_modules: ['k_proj', 'v_proj', 'down_proj'], feedforward_modules: ['down_proj'] },
  },
  { name: 'LN tuning', method: 'norms', options: { peft_type: 'LN_TUNING', target_modules: ['input_layernorm', 'norm'] } },
];

describe.skipIf(!hasPython || !hasShared)('we load adapters of peft and give its logits', () => {
  const path = (i: number) => join(folder, `foreign-${i}`);

  beforeAll(() => {
    const ids = writeInput(folder, 'foreign-ids.json', sequences);
    judge(
      'make_peft_adapter.py',
      folder,
      foreign.map(({ options }, i) => ({ model: stories, options: { seed: i, ...options }, ids, out: path(i) })),
    );
  }, 300_000);

  test.each(foreign.map((c, i) => ({ ...c, i })))('$name', ({ i, method: type = 'lora' }) => {
    const batch = pack(sequences, labels);
    const session = openSession(stories, { method: { type: type as 'lora', initAdapter: path(i) } }, [batch], product);
    const logits = sequences.map((ids) => logitsOf(session, pack([ids], [ids]), product));
    session.dispose();
    expect(distanceFromJudge(logits, join(path(i), 'logits.safetensors'))).toBeLessThan(1e-4);
  });
});
