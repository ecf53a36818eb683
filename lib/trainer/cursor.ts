import type { BatchPlan } from '../data/batching.js';

/** Where a step lies in the data. */
export interface Cursor {
  epoch: number;
  /** Step within the epoch, from 0. */
  index: number;
}

/** Steps of a run: maxSteps, or all steps of its epochs (which may differ when packing shuffled examples). */
export function totalSteps(
  batches: BatchPlan,
  { epochs, maxSteps }: { epochs?: number | undefined; maxSteps?: number | undefined },
): number {
  if (maxSteps !== undefined) return maxSteps;
  let steps = 0;
  for (let epoch = 0; epoch < (epochs ?? 1); epoch++) steps += batches.stepsPerEpoch(epoch);
  return steps;
}

/** Cursor of every optimizer step after the first `done`; goes round the data for as long as it is asked. */
export function* cursors(batches: BatchPlan, done: number): Generator<Cursor & { endOfEpoch: boolean }, never> {
  let skipped = 0;
  for (let epoch = 0; ; epoch++) {
    const steps = batches.stepsPerEpoch(epoch);
    for (let index = 0; index < steps; index++) {
      if (skipped++ < done) continue;
      yield { epoch, index, endOfEpoch: index === steps - 1 };
    }
  }
}
