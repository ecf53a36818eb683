// Trains one step in a process of its own and prints planned and resident bytes. Arguments: model folder, settings as JSON.
import { readFileSync } from 'node:fs';
import { resolvePlanConfig } from '../../dist/config/resolve.js';
import { memoryStatistics } from '../../dist/core/memory.js';
import { openModel } from '../../dist/formats/model-source.js';
import { readModelConfig } from '../../dist/models/index.js';
import { planRun } from '../../dist/trainer/plan.js';
import { Session } from '../../dist/trainer/session.js';

const [path, settings] = process.argv.slice(2);
const { rows, length, ...input } = JSON.parse(settings);

/** Private resident bytes outside of the JavaScript heap: file maps are not counted. */
const resident = () => {
  const anonymous = Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  return anonymous - process.memoryUsage().heapTotal;
};

const tokens = rows * length;
const ids = (f) => Int32Array.from({ length: tokens }, (_, i) => f(i % length, i));
const batch = {
  inputIds: ids((_, i) => (i * 7919) % 997),
  targets: ids((at, i) => (at === length - 1 ? -100 : ((i + 1) * 7919) % 997)),
  positions: ids((at) => at),
  cuSeqlens: Int32Array.from({ length: rows + 1 }, (_, s) => s * length),
  labelRows: Int32Array.from({ length: tokens }, (_, i) => i).filter((i) => i % length !== length - 1),
};
const capacity = { tokens, sequences: rows, labelTokens: batch.labelRows.length };
const config = resolvePlanConfig({ model: path, batchSize: rows, maxLength: length, ...input });

const planSource = openModel(path);
const planned = planRun(config, planSource, capacity).bytes;
planSource.weights?.close();
const source = openModel(path);
globalThis.gc();
const baseline = resident();
const session = new Session({ config, model: readModelConfig(source.config), weights: source.weights, capacity, dry: false });
const { loss } = session.step([batch], 1, 1e-3);
globalThis.gc();
const result = {
  planned,
  loss,
  residentAboveBaseline: resident() - baseline,
  heapPeak: memoryStatistics().heapPeak,
  arenaPeak: session.arenaPeakBytes,
};
console.log(JSON.stringify(result));
session.dispose();
