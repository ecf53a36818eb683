import { randomKey } from '../core/rng.js';

/** A random order of 0 .. count-1 that depends on the given integers alone (Fisher and Yates; Knuth's algorithm P). */
export function permutation(count: number, ...key: number[]): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((randomKey(...key, i) / 2 ** 53) * (i + 1));
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
  return order;
}
