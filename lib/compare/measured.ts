import type { PlanConfigInput } from '../config/schema.js';
import { optimizerOf, optimizerSchema } from '../optimizers/index.js';
import type { Measurement } from '../trainer/measure.js';
import type { ComparisonRow } from './row.js';

function rotates(optimizer: PlanConfigInput['optimizer']): boolean {
  return optimizer !== undefined && optimizerOf(optimizerSchema.parse(optimizer)).rotation !== undefined;
}

/** A row with what really running it gave. `resident`: of a process of its own, where somebody looked. */
export function measuredRow(row: ComparisonRow, measurement: Measurement, resident?: number): ComparisonRow {
  const { plan, measuredBytes, offloadedBytes, arenaBytes, tokensPerSecond, heldOut, losses } = measurement;
  return {
    ...row,
    measured: {
      // The arena is allocated whole: what of it was used is what counts. Where another part of the model trains every so many steps, a
      // run of few steps does not meet the part that uses most.
      total: rotates(row.config.optimizer) ? measuredBytes : measuredBytes - plan.bytes.arena + arenaBytes,
      offloaded: offloadedBytes,
      resident,
      tokensPerSecond,
      loss: heldOut && { ...heldOut, steps: losses.length },
    },
  };
}
