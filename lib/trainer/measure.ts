import type { PlanConfig } from '../config/defaults.js';
import { memoryStatistics, resetMemoryPeak } from '../core/memory.js';
import { BatchPlan } from '../data/batching.js';
import { loadDataset } from '../data/dataset.js';
import { Tokenizer } from '../data/tokenizer.js';
import { openModel } from '../formats/model-source.js';
import type { HostBatch } from '../models/batch.js';
import { readModelConfig } from '../models/index.js';
import { FinetuneError } from '../native/errors.js';
import { evaluateAll } from './evaluate.js';
import type { PlanReport } from './events.js';
import { configuredCapacity, planRun } from './plan.js';
import { Session } from './session.js';

/** A plan beside what the same run really took. */
export interface Measurement {
  plan: PlanReport;
  /** Highest private native memory during the run, above what was held before: to be equal to plan.bytes.total. */
  measuredBytes: number;
  /** Highest sum of scratch files: to be equal to plan.bytes.offloaded. */
  offloadedBytes: number;
  /** Highest byte of the arena that was used: to be equal to plan.bytes.arena. */
  arenaBytes: number;
  /** Heap allocations from the second step on: to be 0. */
  allocationsAfterFirstStep: number;
  /** Of the median step, the first left out where there are more. */
  tokensPerSecond: number;
  /** Of every step. */
  seconds: number[];
  losses: number[];
  /** Mean loss of the held-out rows before the first step and after the last; undefined without data. */
  heldOut: { before: number; after: number } | undefined;
}

/** What is trained on, and what its loss is measured on. */
export interface MeasuredData {
  train: BatchPlan;
  heldOut: BatchPlan;
}

const heldOutRows = 16;

/**
 * The rows of a file as measureTraining takes them, 16 of them held out, packed as the configuration says.
 * @throws ERR_FILE, ERR_DATA_INVALID, ERR_CONFIG_INVALID
 */
export async function loadMeasuredData(config: PlanConfig, path: string): Promise<MeasuredData> {
  const source = openModel(config.model, { weights: false });
  const tokenizer = source.tokenizer && Tokenizer.fromJson(source.tokenizer.tokenizerJson, source.tokenizer.tokenizerConfig);
  const { maxLength, trainOn, format, seed, appendEos, promptsAsChat, batchSize, packing } = config;
  const options = { maxLength, trainOn, format, seed, appendEos, promptsAsChat, validationSplit: heldOutRows, cacheDir: false } as const;
  const { train, validation } = await loadDataset(path, tokenizer, options);
  const plan = (examples: typeof train, shuffle: boolean) =>
    new BatchPlan(examples, { batchSize, gradientAccumulationSteps: 1, packing, maxLength, shuffle, seed });
  return { train: plan(train, true), heldOut: plan(validation, false) };
}

/**
 * Plans a run and then really trains `steps` steps of it, on data where it is given, at the constant learning rate of the
 * configuration. Without data, and for one step more with it, the batch is the largest that the configuration allows: batchSize
 * sequences of maxLength random tokens, each of them learned. Writes nothing.
 * @throws as `plan`, and ERR_FILE for a model without weights
 */
export function measureTraining(asked: PlanConfig, steps: number, data?: MeasuredData): Measurement {
  const source = openModel(asked.model);
  try {
    const { weights } = source;
    if (!weights) throw new FinetuneError('ERR_FILE', `${asked.model}: has no weights, so nothing can be measured; plan needs none`);
    const plan = planRun(asked, source);
    const config = { ...asked, checkpointing: plan.checkpointing };
    const heapBefore = memoryStatistics().heapCurrent;
    resetMemoryPeak();
    const model = readModelConfig(source.config, source.path);
    const capacity = configuredCapacity(config);
    const session = new Session({ config, model, weights, capacity, dry: false });
    try {
      const losses: number[] = [];
      const seconds: number[] = [];
      const rates: number[] = [];
      let allocations = 0;
      const before = data && evaluateAll(session, data.heldOut).loss;
      const next = data && cycle(data.train);
      for (let step = 1; step <= steps; step++) {
        const batches = next?.next().value ?? [fullBatch(config, model.vocabSize, step)];
        const start = performance.now();
        const { loss, tokens } = session.step(batches, step, config.learningRate);
        losses.push(loss);
        seconds.push((performance.now() - start) / 1000);
        rates.push(tokens / (seconds.at(-1) as number));
        if (step === 1) allocations = memoryStatistics().allocations;
      }
      const heldOut = data && before !== undefined ? { before, after: evaluateAll(session, data.heldOut).loss } : undefined;
      // Rows seldom fill a batch to the last token: only the largest one reaches the peak.
      if (data) session.step([fullBatch(config, model.vocabSize, 1)], steps + 1, config.learningRate);
      const statistics = memoryStatistics();
      return {
        plan,
        measuredBytes: statistics.heapPeak - heapBefore,
        offloadedBytes: statistics.peak.offloaded,
        arenaBytes: session.arenaPeakBytes,
        allocationsAfterFirstStep: statistics.allocations - allocations,
        tokensPerSecond: median(rates.length > 1 ? rates.slice(1) : rates),
        seconds,
        losses,
        heldOut,
      };
    } finally {
      session.dispose();
    }
  } finally {
    source.weights?.close();
  }
}

/** The steps of one epoch after the other. */
function* cycle(batches: BatchPlan): Generator<HostBatch[], never> {
  for (let epoch = 0; ; epoch++) for (let i = 0; i < batches.stepsPerEpoch(epoch); i++) yield batches.step(epoch, i);
}

/** batchSize sequences of maxLength tokens, the same for the same step; the last token of a sequence predicts an arbitrary one. */
function fullBatch({ batchSize, maxLength }: PlanConfig, vocabSize: number, step: number): HostBatch {
  const n = batchSize * maxLength;
  const ids = Int32Array.from({ length: n + 1 }, (_, i) => (Math.imul(i + 1, 2654435761) ^ Math.imul(step, 40503)) >>> 8).map(
    (x) => x % vocabSize,
  );
  return {
    inputIds: ids.slice(0, n),
    targets: ids.slice(1),
    positions: Int32Array.from({ length: n }, (_, i) => i % maxLength),
    cuSeqlens: Int32Array.from({ length: batchSize + 1 }, (_, i) => i * maxLength),
    labelRows: Int32Array.from({ length: n }, (_, i) => i),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
