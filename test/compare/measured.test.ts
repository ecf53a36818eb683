import { expect, it } from 'vitest';
import { agrees, comparisonColumns } from '../../lib/compare/columns.js';
import { measuredRow } from '../../lib/compare/measured.js';
import type { ComparisonRow } from '../../lib/compare/row.js';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import { demoData, demoModel } from '../../lib/demo.js';
import { planCompare } from '../../lib/index.js';
import { loadMeasuredData, type Measurement, measureTraining } from '../../lib/trainer/measure.js';

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
  const measurement = (measuredBytes: number, arenaBytes: number) =>
    measuredRow(row, { plan, measuredBytes, arenaBytes, tokensPerSecond: 1, losses: [] } as unknown as Measurement);
  expect(agrees(measurement(total, arena))).toBe(true);
  expect(agrees(measurement(total + 1, arena))).toBe(false);
  const less = measurement(total, arena - 64);
  expect(agrees(less)).toBe(false);
  expect(less.measured?.total).toBe(total - 64);
});
