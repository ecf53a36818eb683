// Summaries of measured samples.

/** Value at `share` (0 to 1) of ascending numbers, between neighbours by proportion. */
export function quantile(sorted, share) {
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

/** Median, 20th and 80th percentile of numbers in any order. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), p20: quantile(sorted, 0.2), p80: quantile(sorted, 0.8) };
}

/** Share of the cores that other processes may take while something is measured. */
export const othersLimit = 0.04;

/**
 * The samples to believe: those during which other processes left the cores alone. Where there are none, the quieter half, with
 * clean 0. `others` of a sample is undefined where the system does not say; such a sample counts as clean.
 */
export function cleanSamples(samples) {
  const share = ({ others }) => others ?? 0;
  const clean = samples.filter((sample) => share(sample) < othersLimit);
  if (clean.length > 0) return { kept: clean, clean: clean.length };
  const quietest = [...samples].sort((a, b) => share(a) - share(b));
  return { kept: quietest.slice(0, Math.ceil(samples.length / 2)), clean: 0 };
}

/** `value` with `digits` significant digits, as a number. */
export const significant = (value, digits = 4) => Number(value.toPrecision(digits));
