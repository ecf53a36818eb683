/** Label of a position that is not learned, as PyTorch's cross-entropy has it. */
export const ignoredLabel = -100;

/** One training sequence. `labels` is not shifted: `labels[i]` says whether token i itself is learned. */
export interface Example {
  /** Token ids, at most `maxLength` of them. */
  inputIds: Int32Array;
  /** Same length: `inputIds[i]` where token i is learned, -100 elsewhere. */
  labels: Int32Array;
  /** The row of the data it comes from, counted from 0; rows may give several examples. */
  row: number;
  /** Whether tokens were cut off at its end. */
  truncated: boolean;
}

/** Number of positions that are predicted: learned tokens other than the first, which nothing precedes. */
export function countTargets(labels: Int32Array): number {
  let count = 0;
  for (let i = 1; i < labels.length; i++) if (labels[i] !== ignoredLabel) count++;
  return count;
}
