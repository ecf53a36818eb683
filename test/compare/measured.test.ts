import { join } from 'node:path';
import { expect, it } from 'vitest';
import { agrees, comparisonColumns } from '../../lib/compare/columns.js';
import { measuredRow } from '../../lib/compare/measured.js';
import type { ComparisonRow } from '../../lib/compare/row.js';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import { demoData, demoModel } from '../../lib/demo.js';
import { planCompare } from '../../lib/index.js';
import { loadMeasuredData, type Measurement, measureTraining } from '../../lib/trainer/measure.js';
import { temporaryFolder } from '../trainer/training.js';

const rows = planCompare({ model: demoModel, batchSize: 2, maxLength: 96 });
const find = (name: string) => rows.find((row) => row.name === name && row.checkpointing === 'block') as ComparisonRow;

it('a row on data: planned = measured though no row fills the batch, the loss of held-out rows falls, the same again', async () => {
  const row = find('full, lomo');
  const config = resolvePlanConfig(row.config);
  const run = async () => measureTraining(config, 3, await loadMeasuredData(config, demoData));
  const first = await run();
  const shown = measuredRow(row, first, 12345);
  expect(agrees(shown)).toBe(true);
  expect(first).toMatchObject({ measuredBytes: first.plan.bytes.total, arenaBytes: first.plan.bytes.arena, allocationsAfterFirstStep: 0 });
  const { before, after } = first.heldOut ?? { before: 0, after: 0 };
  expect(after).toBeLessThan(0.95 * before);
  expect(shown.measured?.loss).toEqual({ before, after, steps: 3 });
  expect((await run()).heldOut).toEqual({ before, after });
  const values = Object.fromEntries(comparisonColumns([shown]).map((c) => [c.key, c.value(shown)]));
  expect(values).toMatchObject({ measuredBytes: row.plan?.bytes.total, residentBytes: 12345, lossAfter: after });
});

it('a run that took something else than planned is not shown as planned', () => {
  const row = find('full, adamw');
  const plan = row.plan as NonNullable<typeof row.plan>;
  const { total, arena } = plan.bytes;
  const measurement = (measuredBytes: number, arenaBytes: number, offloadedBytes = 0) =>
    measuredRow(row, { plan, measuredBytes, offloadedBytes, arenaBytes, tokensPerSecond: 1, losses: [] } as unknown as Measurement);
  expect(agrees(measurement(total, arena))).toBe(true);
  expect(agrees(measurement(total + 1, arena))).toBe(false);
  expect(agrees(measurement(total, arena, 64))).toBe(false);
  const less = measurement(total, arena - 64);
  expect(agrees(less)).toBe(false);
  expect(less.measured?.total).toBe(total - 64);
});

it('the last rung of the ladder, streamed: planned = measured, private and in scratch files, with the losses of the one before', () => {
  // A model whose rows are whole blocks.
  const model = join(import.meta.dirname, '..', 'fixtures', 'quantized', 'plain');
  const [before, streamed] = planCompare({ model, batchSize: 2, maxLength: 32 }).slice(-2) as [ComparisonRow, ComparisonRow];
  const dir = temporaryFolder();
  const run = ({ config }: ComparisonRow) =>
    measureTraining(resolvePlanConfig({ ...config, ...(config.offload && { offload: { ...config.offload, dir } }) }), 2);
  const measurement = run(streamed);
  expect(streamed.name).toBe('+ streamed');
  expect(agrees(measuredRow(streamed, measurement))).toBe(true);
  expect(measurement.losses).toEqual(run(before).losses);
  // Nothing private is left but what a step works with.
  const { total, offloaded, weights, optimizer, activations, workspace, batch } = streamed.bytes as NonNullable<typeof streamed.bytes>;
  expect([weights, optimizer]).toEqual([0, 0]);
  expect(total).toBe(activations + workspace + batch);
  expect(offloaded).toBeGreaterThan((before.bytes?.weights ?? 0) + (before.bytes?.quantization ?? 0));
});
