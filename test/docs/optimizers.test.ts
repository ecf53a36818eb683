import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Parameter } from '../../lib/core/parameter.js';
import { Tensor } from '../../lib/core/tensor.js';
import { learningRateTable, makeOptimizer, optimizerSchema, optimizers } from '../../lib/optimizers/index.js';
import { OptimizerState } from '../../lib/trainer/optimizer-state.js';

const readme = readFileSync(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8');
const rows = readme
  .slice(readme.indexOf('## Optimizers'), readme.indexOf('## What it does not do'))
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

/** Bytes of state per value of a 1024 x 1024 weight, as in the table. */
function stateBytes(settings: object): string {
  const shape = [1024, 1024];
  const config = optimizerSchema.safeParse(settings);
  if (!config.success) return '-';
  const optimizer = makeOptimizer(config.data, { weightDecayOn: 'all', accumulator: 'f32' });
  const weight = new Parameter('layers.0.w.weight', Tensor.dry('f32', shape));
  const state = new OptimizerState(optimizer, [weight], { seed: 0, stochasticRounding: true, memory: 'dry' });
  return String(Number((state.bytes / 2 ** 20).toFixed(5)));
}

it('the README has every optimizer', () => {
  expect([...new Set(rows.map(([name]) => (name as string).split('`')[1]))]).toEqual(optimizers.map((o) => o.name));
});

it.each(rows)('the README states the bytes and rates of %s', (name, f32, bf16, in8, in4, updates, full, lora) => {
  const type = (name as string).split('`')[1] as string;
  const settings = {
    type,
    ...((name as string).includes('momentum') && { momentum: 0.9 }),
    ...((name as string).includes('int4') && { projectionDtype: 'int4' }),
  };
  expect(stateBytes(settings)).toBe(f32);
  expect(stateBytes({ ...settings, stateDtype: 'bf16' })).toBe(bf16);
  expect(stateBytes({ ...settings, stateDtype: '8bit' })).toBe(in8);
  expect(stateBytes({ ...settings, stateDtype: '4bit' })).toBe(in4);
  const hasSwitch = optimizerSchema.safeParse({ type, fused: true }).success;
  const { forwardOnly } = optimizers.find((o) => o.name === type) as (typeof optimizers)[number];
  expect(updates).toBe(forwardOnly ? 'forward only' : hasSwitch ? 'kept or fused' : 'fused');
  if (full?.startsWith('x')) return;
  const rate = (method: string) => learningRateTable().find((r) => r.method === method && r.optimizer === type)?.value;
  expect(Number.parseFloat(full as string)).toBe(rate('full'));
  expect(lora === '-' ? undefined : Number.parseFloat(lora as string)).toBe(rate('lora'));
});
