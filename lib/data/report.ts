import { countTargets, type Example, ignoredLabel } from './example.js';

/** What became of the data: printed before training and by `inspect data`. */
export interface DataReport {
  format: string;
  /** Why this format was taken. */
  reason: string;
  /** Rows read. */
  rows: number;
  /** Training sequences made of them. */
  examples: number;
  /** Tokens of the examples, after cutting. */
  tokens: number;
  /** Tokens that are learned: those that the loss is taken over. */
  labelTokens: number;
  /** Examples cut at `maxLength`. */
  truncated: number;
  /** Rows, or parts of rows, that give nothing to learn; rows are counted from 0. */
  dropped: { row: number; reason: string }[];
  /** Lengths in tokens before cutting, dropped ones included. */
  lengthPercentiles: { p5: number; p25: number; p50: number; p75: number; p95: number; max: number };
  /** Whether some example teaches the EOS token, without which a model never stops. */
  eosTrained: boolean;
  warnings: string[];
}

/** Nearest-rank percentiles. */
export function lengthPercentiles(lengths: readonly number[]): DataReport['lengthPercentiles'] {
  const sorted = Int32Array.from(lengths).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p5: at(0.05), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95), max: at(1) };
}

export function sumTokens(examples: readonly Example[]): { tokens: number; labelTokens: number } {
  let tokens = 0;
  let labelTokens = 0;
  for (const { inputIds, labels } of examples) {
    tokens += inputIds.length;
    labelTokens += countTargets(labels);
  }
  return { tokens, labelTokens };
}

/** Whether some example predicts this token. */
export function isTrained(examples: readonly Example[], id: number | undefined): boolean {
  if (id === undefined || id === ignoredLabel) return false;
  return examples.some(({ labels }) => labels.lastIndexOf(id) > 0);
}

/** The first rows that were dropped, for messages. */
export function nameDropped(dropped: DataReport['dropped']): string {
  const named = dropped.slice(0, 5).map(({ row, reason }) => `row ${row} (${reason})`);
  const more = dropped.length - named.length;
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
