/**
 * The largest n from 1 to `most` whose bytes are at most `limit`; 0 where not even 1 fits. `bytesAt` must never fall when n grows and is
 * asked as seldom as an almost straight line allows.
 */
export function largestThatFits(bytesAt: (n: number) => number, limit: number, most: number): number {
  if (bytesAt(1) > limit) return 0;
  if (bytesAt(most) <= limit) return most;
  let fits = 1;
  let exceeds = most;
  for (let round = 0; exceeds - fits > 1; round++) {
    const slope = (bytesAt(exceeds) - bytesAt(fits)) / (exceeds - fits);
    const straight = fits + Math.floor((limit - bytesAt(fits)) / slope);
    // Where the line is bent, halving ends what straight guesses would only creep towards.
    const guess = round % 3 === 2 ? (fits + exceeds) >> 1 : straight;
    const n = Math.min(exceeds - 1, Math.max(fits + 1, guess));
    if (bytesAt(n) > limit) {
      exceeds = n;
      continue;
    }
    fits = n;
    if (n + 1 < exceeds && bytesAt(n + 1) > limit) exceeds = n + 1;
  }
  return fits;
}

/** `compute`, asked once for every n. */
export function remembered(compute: (n: number) => number): (n: number) => number {
  const known = new Map<number, number>();
  return (n) => {
    const value = known.get(n) ?? compute(n);
    known.set(n, value);
    return value;
  };
}
