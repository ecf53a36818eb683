import type { Measurement } from '../trainer/measure.js';
import type { ComparisonRow } from './row.js';

/** A row with what really running it gave. `resident`: of a process of its own, where somebody looked. */
export function measuredRow(row: ComparisonRow, measurement: Measurement, resident?: number): ComparisonRow {
  const { plan, measuredBytes, arenaBytes, tokensPerSecond, heldOut, losses } = measurement;
  return {
    ...row,
    measured: {
      // The arena is allocated whole: what of it was used is what counts.
      total: measuredBytes - plan.bytes.arena + arenaBytes,
      resident,
      tokensPerSecond,
      loss: heldOut && { ...heldOut, steps: losses.length },
    },
  };
}
