// Random numbers of the tests: a seeded stream for inputs, and native/core/rng.h transcribed for the ops that draw.

/** Seeded uniform numbers in [0, 1): mulberry32. */
export function uniformStream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Seeded normal numbers with mean 0 and variance 1. */
export function normalStream(seed: number): () => number {
  const uniform = uniformStream(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Stable 32-bit number of a text, as a seed. */
export function seedOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

const mask = (1n << 64n) - 1n;

/** rng::bits(key, counter). */
export function counterBits(key: number, counter: number): bigint {
  let z = (BigInt(key) + (BigInt(counter) + 1n) * 0x9e3779b97f4a7c15n) & mask;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
  return z ^ (z >> 31n);
}

/** rng::uniform(key, counter): 24 bits in [0, 1). */
export function counterUniform(key: number, counter: number): number {
  return Number(counterBits(key, counter) >> 40n) / 2 ** 24;
}

/** rng::bits16(key, i): the rounding bits of element i. */
export function counterBits16(key: number, i: number): number {
  return Number((counterBits(key, Math.floor(i / 4)) >> BigInt(16 * (i % 4))) & 0xffffn);
}

/** The standard normal number of (key, counter), by Box and Muller's formula. */
export function counterNormal(key: number, counter: number): number {
  const bits = counterBits(key, counter);
  const u = (Number(bits >> 40n) + 1) / 2 ** 24;
  const v = Number((bits >> 16n) & 0xffffffn) / 2 ** 24;
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
}
