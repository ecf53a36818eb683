/**
 * Key for the counter-based generators of the engine: a 53-bit hash of the given integers, e.g. (seed, step, layer, op).
 * Equal inputs give equal keys on every machine, so recompute and resume draw the same numbers.
 */
export function randomKey(...parts: number[]): number {
  let high = 0x9e3779b9;
  let low = 0x85ebca6b;
  for (const part of parts) {
    for (const word of [part | 0, Math.floor(part / 2 ** 32) | 0]) {
      high = Math.imul(high ^ word, 0x85ebca77);
      low = Math.imul(low ^ word, 0xc2b2ae3d);
      high ^= low >>> 15;
      low = (low ^ (high >>> 13)) + 0x27d4eb2f;
    }
  }
  high = Math.imul(high ^ (high >>> 16), 0x7feb352d);
  low = Math.imul(low ^ (low >>> 15), 0x846ca68b);
  return ((high >>> 0) & 0x1fffff) * 2 ** 32 + ((low ^ high) >>> 0);
}

/** FNV-1a hash of a name, 32 bits: a stable stream number for a parameter or layer. */
export function nameStream(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
