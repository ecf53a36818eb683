import { formatBytes, formatCount } from '../cli/format.js';
import type { ComparisonRow } from './row.js';

/** What a comparison is of, in a line: model, size, batch, types, and what is not counted. */
export function comparisonCaption(rows: readonly ComparisonRow[], model?: string): string {
  const plans = rows.flatMap((row) => row.plan ?? []);
  const [first] = plans;
  if (!first) return 'No row can be planned.';
  // Those of adapters count the adapters too.
  const parameters = Math.min(...plans.map((p) => p.totalParameters));
  const mapped = Math.max(...plans.map((p) => p.bytes.weightsMapped));
  const scratch = plans.some((p) => p.bytes.offloaded) ? ', nor are scratch files' : '';
  return (
    `${model ?? first.model}, ${formatCount(parameters)} parameters, ${first.batchSize} x ${formatCount(first.maxLength)} tokens, ` +
    `activations ${first.dtype}. Frozen weights stay in the model file` +
    `${mapped ? ` (up to ${formatBytes(mapped)})` : ''}, mapped, and are not in the total${scratch}.`
  );
}
