import type { DType } from '../../lib/core/dtype.js';
import { ulp } from './storage.js';

export interface Deviation {
  /** Largest absolute difference. */
  max: number;
  /** Root of the sum of squared differences over that of the reference. */
  normalised: number;
}

/** Compares with the reference. Values that are not finite must agree exactly, else the deviation is infinite. */
export function deviation(got: ArrayLike<number>, reference: ArrayLike<number>): Deviation {
  if (got.length !== reference.length) throw new Error(`${got.length} values against ${reference.length}`);
  let max = 0;
  let squares = 0;
  let norm = 0;
  for (let i = 0; i < got.length; i++) {
    const [g, r] = [got[i] as number, reference[i] as number];
    if (Object.is(g, r) || g === r) {
      if (Number.isFinite(r)) norm += r * r;
      continue;
    }
    const d = Number.isFinite(g) && Number.isFinite(r) ? Math.abs(g - r) : Infinity;
    max = Math.max(max, d);
    squares += d * d;
    norm += r * r;
  }
  return { max, normalised: squares === 0 ? 0 : Math.sqrt(squares / norm) };
}

/**
 * The tolerance rule: at most twice the error of the naive loops in the same precision, plus one ulp of the largest output.
 * `precision` is the type the values are computed in: that of the output, or coarser. @throws with the numbers
 */
export function assertAccurate(
  name: string,
  precision: DType,
  got: ArrayLike<number>,
  naive: ArrayLike<number>,
  reference: ArrayLike<number>,
): void {
  const ours = deviation(got, reference);
  const theirs = deviation(naive, reference);
  let largest = 0;
  let norm = 0;
  for (let i = 0; i < reference.length; i++) {
    const r = reference[i] as number;
    if (!Number.isFinite(r)) continue;
    largest = Math.max(largest, Math.abs(r));
    norm += r * r;
  }
  const floor = ulp(precision, largest);
  const limit = 2 * theirs.max + floor;
  if (!(ours.max <= limit)) throw new Error(`${name}: max error ${ours.max} is above ${limit} (naive ${theirs.max}, ulp ${floor})`);
  const normalisedLimit = 2 * theirs.normalised + (norm > 0 ? floor / Math.sqrt(norm) : 0);
  if (!(ours.normalised <= normalisedLimit))
    throw new Error(`${name}: normalised error ${ours.normalised} is above ${normalisedLimit} (naive ${theirs.normalised})`);
}
