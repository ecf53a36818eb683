import { readFileSync } from 'node:fs';
import type { PlanConfig } from '../config/defaults.js';
import { memoryStatistics, resetMemoryPeak } from '../core/memory.js';
import { openModel } from '../formats/model-source.js';
import type { HostBatch } from '../models/batch.js';
import { readModelConfig } from '../models/index.js';
import { FinetuneError } from '../native/errors.js';
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
  /** Growth of the process's private resident memory, pages of the model file not counted; undefined where the system does not say. */
  residentBytes: number | undefined;
  /** Heap allocations from the second step on: to be 0. */
  allocationsAfterFirstStep: number;
  /** Of the median step, the first left out where there are more. */
  tokensPerSecond: number;
  /** Of every step. */
  seconds: number[];
  losses: number[];
}

/**
 * Plans a run and then really trains `steps` steps of it on the largest batch the configuration allows: batchSize sequences of
 * maxLength random tokens, each of them learned. Writes nothing.
 * @throws as `plan`, and ERR_FILE for a model without weights
 */
export function measureTraining(asked: PlanConfig, steps: number): Measurement {
  const source = openModel(asked.model);
  try {
    const { weights } = source;
    if (!weights) throw new FinetuneError('ERR_FILE', `${asked.model}: has no weights, so nothing can be measured; plan needs none`);
    const plan = planRun(asked, source);
    const config = { ...asked, checkpointing: plan.checkpointing };
    const heapBefore = memoryStatistics().heapCurrent;
    const residentBefore = privateResidentBytes();
    resetMemoryPeak();
    const model = readModelConfig(source.config, source.path);
    const capacity = configuredCapacity(config);
    const session = new Session({ config, model, weights, capacity, dry: false });
    try {
      const losses: number[] = [];
      const seconds: number[] = [];
      let allocations = 0;
      for (let step = 1; step <= steps; step++) {
        const batch = fullBatch(config, model.vocabSize, step);
        const start = performance.now();
        losses.push(session.step([batch], step, config.learningRate).loss);
        seconds.push((performance.now() - start) / 1000);
        if (step === 1) allocations = memoryStatistics().allocations;
      }
      const statistics = memoryStatistics();
      const residentAfter = privateResidentBytes();
      return {
        plan,
        measuredBytes: statistics.heapPeak - heapBefore,
        offloadedBytes: statistics.peak.offloaded,
        arenaBytes: session.arenaPeakBytes,
        residentBytes: residentAfter === undefined || residentBefore === undefined ? undefined : residentAfter - residentBefore,
        allocationsAfterFirstStep: statistics.allocations - allocations,
        tokensPerSecond: capacity.tokens / median(seconds.length > 1 ? seconds.slice(1) : seconds),
        seconds,
        losses,
      };
    } finally {
      session.dispose();
    }
  } finally {
    source.weights?.close();
  }
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

/** Anonymous resident memory of this process, on Linux: file maps are the system's. */
function privateResidentBytes(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
