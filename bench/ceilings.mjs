// What the machine can do: matrix products in f32 and bf16 (ours, and oneDNN's through torch where it is installed) and copying memory.
// GEMM: 2048^3 and y = x W^T of the largest shapes of a SmolLM2-135M layer; the best median counts. Copy: memcpy on as many
// threads (copy.mjs), bytes read and written both counted.
import { threads } from '../dist/core/device.js';
import { startCopy } from './copy.mjs';
import { prepareCase } from './op-calls.mjs';
import { significant } from './statistics.mjs';
import { here, inTurns } from './turns.mjs';

const shapes = [
  { m: 2048, k: 2048, n: 2048 },
  { m: 1024, k: 576, n: 1536 },
  { m: 1024, k: 1536, n: 576 },
];

const perMs = (amount, { median, clean, turns }) => ({ rate: amount / median / 1e6, clean, turns });

/** GFLOP/s of a product: ours, then the rival's. */
async function gemmRates(dtype, { m, k, n }, rival, count, seconds) {
  const tensor = (...shape) => ({ dtype, shape });
  const ours = prepareCase('linear_forward', { x: tensor(m, k), weight: tensor(n, k), y: tensor(m, n) });
  const theirs = await rival?.prepare({ kind: 'gemm', layout: 'NT', m, k, n, dtype, threads: count });
  const results = await inTurns([here(ours.run), ...(theirs ? [theirs.contestant] : [])], seconds);
  ours.dispose();
  await rival?.forget();
  return results.map((result) => perMs(2 * m * k * n, result));
}

/** GB/s. */
async function copyRate(count, seconds) {
  const copy = await startCopy(count);
  const [result] = await inTurns([copy.contestant], seconds);
  await copy.stop();
  return perMs(copy.bytes, result);
}

/**
 * GFLOP/s by dtype of the best product, ours and the rival's, and GB/s of a copy, on `count` threads. A ceiling of a disturbed machine is
 * too low: `clean` of `turns` say how quiet it was.
 */
export async function measureCeilings(rival, count, seconds) {
  const before = threads();
  threads(count);
  const copy = await copyRate(count, seconds);
  const all = [copy];
  const result = { threads: count, copyGbs: significant(copy.rate) };
  for (const dtype of ['f32', 'bf16']) {
    const pairs = [];
    for (const shape of shapes) pairs.push(await gemmRates(dtype, shape, rival, count, seconds));
    all.push(...pairs.flat());
    const best = (i) => significant(Math.max(...pairs.map((pair) => pair[i].rate)));
    result[dtype] = { own: best(0), ...(rival && { torch: best(1) }) };
    result[dtype].gflops = Math.max(...Object.values(result[dtype]));
  }
  threads(before);
  const sum = (key) => all.reduce((total, one) => total + one[key], 0);
  return { ...result, clean: sum('clean'), turns: sum('turns') };
}

/** One line for people. */
export function ceilingsText({ threads: count, copyGbs, f32, bf16, clean, turns }) {
  const rate = (r) => `${r.gflops} GFLOP/s (ours ${r.own}${r.torch ? `, oneDNN ${r.torch}` : ''})`;
  return `ceilings on ${count} threads (${clean}/${turns} clean turns): f32 ${rate(f32)}, bf16 ${rate(bf16)}, copy ${copyGbs} GB/s`;
}
