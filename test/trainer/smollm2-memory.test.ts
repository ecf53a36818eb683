import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MemoryPlan } from '../../lib/trainer/events.js';
import { hasShared, sharedPath } from '../shared.js';
import type { Settings } from './sessions.js';

interface Measured {
  planned: MemoryPlan;
  loss: number;
  residentAboveBaseline: number;
  heapPeak: number;
  arenaPeak: number;
}

const built = existsSync(join(import.meta.dirname, '..', '..', 'dist', 'trainer', 'session.js'));
const mib = 2 ** 20;

function measure(settings: Settings & { rows: number; length: number }): Measured {
  const script = join(import.meta.dirname, 'measure-rss.mjs');
  const model = sharedPath('models', 'smollm2-135m-instruct');
  // JavaScript's own heap and its helper threads would otherwise move the measurement by tens of MiB.
  const node = ['--expose-gc', '--single-threaded', '--max-semi-space-size=1'];
  const output = execFileSync(process.execPath, [...node, script, model, JSON.stringify(settings)], { encoding: 'utf8' });
  return JSON.parse(output) as Measured;
}

/** What the plan says is what native memory takes, and the process grows by that and little more. */
function expectPlanned({ planned, heapPeak, arenaPeak, residentAboveBaseline, loss }: Measured): void {
  expect(loss).toBeGreaterThan(1);
  expect(heapPeak).toBe(planned.total);
  expect(arenaPeak).toBe(planned.arena);
  expect(residentAboveBaseline).toBeLessThan(planned.total * 1.1);
  expect(residentAboveBaseline).toBeGreaterThan(planned.total * 0.9);
}

describe.skipIf(!hasShared || !built)('SmolLM2-135M with 4 x 256 tokens', () => {
  it('full-parameter LOMO in bf16 with block checkpointing peaks at 1.25 times its weights, without gradients', () => {
    const settings: Settings = { method: { type: 'full' }, optimizer: { type: 'lomo' }, dtype: 'bf16', checkpointing: 'block' };
    const result = measure({ ...settings, rows: 4, length: 256 });
    expectPlanned(result);
    expect(result.planned.gradients).toBe(0);
    expect(result.planned.optimizer).toBe(0);
    expect(result.planned.weightsMapped).toBe(0);
    expect(result.planned.total).toBeLessThanOrEqual(1.25 * result.planned.weights);
  });

  it('LoRA over the mapped base takes less than 0.5 GB of private memory', () => {
    const result = measure({ method: { type: 'lora' }, checkpointing: 'block', rows: 4, length: 256 });
    expectPlanned(result);
    expect(result.planned.weightsMapped).toBeGreaterThan(80 * mib);
    expect(result.residentAboveBaseline).toBeLessThan(0.5e9);
  });
});
