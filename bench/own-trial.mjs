// One trial of this package in a process of its own: the argument is JSON, the answer one JSON line in the form of torch_train.py.
//   settings: of the run, as for plan(); steps: clean ones wanted; warmup: steps not counted; labels: share of the tokens that carry loss
import { resolvePlanConfig } from '../dist/config/resolve.js';
import { threads } from '../dist/core/device.js';
import { memoryStatistics, resetMemoryPeak } from '../dist/core/memory.js';
import { openModel } from '../dist/formats/model-source.js';
import { readModelConfig } from '../dist/models/index.js';
import { Session } from '../dist/trainer/session.js';
import { residentBytes, stopwatch } from './quiet.mjs';
import { othersLimit } from './statistics.mjs';

/** Rows of random tokens, other ones every step; the last `labels` of each row are learned. */
function randomBatch({ batchSize, maxLength }, vocabSize, step, labels) {
  const n = batchSize * maxLength;
  const random = (i) => ((Math.imul(i + 1, 2654435761) ^ Math.imul(step, 40503)) >>> 8) % vocabSize;
  const ids = Int32Array.from({ length: n + 1 }, (_, i) => random(i));
  const isLearned = (i) => i % maxLength >= Math.round((1 - labels) * maxLength);
  return {
    inputIds: ids.slice(0, n),
    targets: Int32Array.from({ length: n }, (_, i) => (isLearned(i) ? ids[i + 1] : -100)),
    positions: Int32Array.from({ length: n }, (_, i) => i % maxLength),
    cuSeqlens: Int32Array.from({ length: batchSize + 1 }, (_, i) => i * maxLength),
    labelRows: Int32Array.from({ length: n }, (_, i) => i).filter(isLearned),
  };
}

const { settings, steps: wanted, warmup, labels } = JSON.parse(process.argv[2]);
const rssAfterImportBytes = residentBytes('VmRSS');
const config = resolvePlanConfig(settings);
if (config.threads !== undefined) threads(config.threads);
const source = openModel(config.model);
const model = readModelConfig(source.config, source.path);
const batch = (step) => randomBatch(config, model.vocabSize, step, labels);
const { inputIds, labelRows } = batch(0);
const capacity = { tokens: inputIds.length, sequences: config.batchSize, labelTokens: labelRows.length };
const heapBefore = memoryStatistics().heapCurrent;
resetMemoryPeak();
const session = new Session({ config, model, weights: source.weights, capacity, dry: false });

const steps = [];
const losses = [];
let clean = 0;
for (let step = 1; clean < wanted && step <= warmup + 3 * wanted; step++) {
  const host = batch(step);
  const read = stopwatch();
  losses.push(Number(session.step([host], step, config.learningRate).loss.toFixed(5)));
  const measured = read();
  if (step <= warmup) continue;
  steps.push(measured);
  if (!(measured.others >= othersLimit)) clean++;
}
console.log(
  JSON.stringify({
    trainableParameters: session.trained.reduce((sum, p) => sum + p.numElements, 0),
    steps,
    losses,
    plannedBytes: session.plan().total,
    measuredBytes: memoryStatistics().heapPeak - heapBefore,
    mappedBytes: session.plan().weightsMapped,
    peakRssBytes: residentBytes('VmHWM') ?? process.resourceUsage().maxRSS * 1024,
    rssAfterImportBytes,
  }),
);
session.dispose();
