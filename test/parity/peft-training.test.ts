// Thirty steps of the methods that peft has, beside peft, from an adapter that this package wrote. LoRA itself: trajectories.test.ts.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import type { PlanConfigInput } from '../../lib/config/schema.js';
import { openModel } from '../../lib/formats/model-source.js';
import { saveResult } from '../../lib/trainer/save-result.js';
import { hasShared, sharedPath } from '../shared.js';
import { readJson } from './fixture.js';
import { hasPython, judge } from './judge.js';
import { openSession, product } from './model-session.js';
import { batches, batchesFile } from './trajectory.js';

type Method = NonNullable<PlanConfigInput['method']>;

const model = sharedPath('models', 'stories260K');
const folder = mkdtempSync(join(tmpdir(), 'node-finetune-training-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cases: { name: string; method: Method; learningRate: number; peft?: object }[] = [
  { name: 'rsLoRA', method: { type: 'lora', rank: 8, alpha: 16, useRslora: true }, learningRate: 1e-3 },
  { name: 'LoRA+', method: { type: 'lora', rank: 8, alpha: 16, loraPlusRatio: 16 }, learningRate: 2e-4, peft: { loraPlusRatio: 16 } },
  { name: 'dora', method: { type: 'dora', rank: 8, alpha: 16 }, learningRate: 1e-3 },
  { name: 'ia3', method: { type: 'ia3' }, learningRate: 1e-2 },
  {
    name: 'ia3 on all layers',
    method: { type: 'ia3', targets: ['*_proj'], feedForwardTargets: ['o_proj', 'up_proj', 'q_proj'] },
    learningRate: 3e-3,
  },
  { name: 'norms', method: { type: 'norms' }, learningRate: 1e-2 },
];

describe.skipIf(!hasPython || !hasShared)('30 steps follow those of peft', () => {
  const losses = new Map<string, number[]>();
  const path = (i: number) => join(folder, `start-${i}`);
  const result = (i: number) => join(folder, `losses-${i}.json`);

  beforeAll(() => {
    const jobs = cases.map(({ name, method, learningRate, peft }, i) => {
      const options = { method, optimizer: { type: 'adamw' as const, weightDecay: 0 }, maxGradNorm: 0 };
      const session = openSession(model, options, batches, product);
      saveResult(session, openModel(model, { weights: false }), resolvePlanConfig({ model, ...options }), path(i), { overwrite: false });
      losses.set(
        name,
        batches.map((batch, step) => session.step([batch], step + 1, learningRate).loss),
      );
      session.dispose();
      return { model, adapter: path(i), rows: batchesFile, learningRate, out: result(i), ...peft };
    });
    judge('peft_training.py', folder, jobs);
  }, 900_000);

  test.each(cases.map((c, i) => ({ ...c, i })))('$name', ({ name, i }) => {
    const ours = losses.get(name) as number[];
    const { losses: theirs } = readJson<{ losses: number[] }>(result(i));
    expect(ours).toHaveLength(30);
    expect(theirs).toHaveLength(30);
    const apart = Math.max(...ours.map((loss, step) => Math.abs(loss / (theirs[step] as number) - 1)));
    expect(apart).toBeLessThan(1e-4);
    // Losses of frozen weights would agree too.
    const start = ours[0] as number;
    expect(Math.abs(start - (ours.at(-1) as number))).toBeGreaterThan(0.05 * start);
  });
});
