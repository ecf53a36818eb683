// The rate that `learningRate: auto` stands for, of every optimizer with every method, on the model of the package and its rows.
import { expect, it } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import { demoData, demoModel } from '../../lib/demo.js';
import { learningRateTable } from '../../lib/optimizers/index.js';
import { loadMeasuredData, measureTraining } from '../../lib/trainer/measure.js';

const steps = 30;
/** The model of the package has no biases. */
const rates = learningRateTable().filter(({ method }) => method !== 'bitfit');

it.each(rates)('$method, $optimizer: $value lowers the loss', async ({ method, optimizer }) => {
  const config = resolvePlanConfig({
    model: demoModel,
    method: { type: method },
    optimizer: { type: optimizer },
    batchSize: 2,
    maxLength: 128,
  } as Parameters<typeof resolvePlanConfig>[0]);
  const { heldOut } = measureTraining(config, steps, await loadMeasuredData(config, demoData));
  expect(heldOut?.after).toBeLessThan(heldOut?.before as number);
});
