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

async function gemmRate(dtype, { m, k, n }, rival, count, seconds) {
  const tensor = (...shape) => ({ dtype, shape });
  const ours = prepareCase('linear_forward', { x: tensor(m, k), weight: tensor(n, k), y: tensor(m, n) });
  const theirs = await rival?.prepare({ kind: 'gemm', layout: 'NT', m, k, n, dtype, threads: count });
  const results = await inTurns([here(ours.run), ...(theirs ? [theirs.contestant] : [])], seconds);
  ours.dispose();
  await rival?.forget();
  return results.map(({ median }) => (2 * m * k * n) / median / 1e6);
}

async function copyRate(count, seconds) {
  const copy = await startCopy(count);
  const [{ median }] = await inTurns([copy.contestant], seconds);
  await copy.stop();
  return copy.bytes / median / 1e6;
}

/** GFLOP/s by dtype of the best product, ours and the rival's, and GB/s of a copy, on `count` threads. */
export async function measureCeilings(rival, count, seconds) {
  const before = threads();
  threads(count);
  const result = { threads: count, copyGbs: significant(await copyRate(count, seconds)) };
  for (const dtype of ['f32', 'bf16']) {
    const rates = [];
    for (const shape of shapes) rates.push(await gemmRate(dtype, shape, rival, count, seconds));
    const best = (i) => significant(Math.max(...rates.map((pair) => pair[i])));
    result[dtype] = { own: best(0), ...(rates[0].length > 1 && { torch: best(1) }) };
    result[dtype].gflops = Math.max(...Object.values(result[dtype]));
  }
  threads(before);
  return result;
}

/** One line for people. */
export function ceilingsText({ threads: count, copyGbs, f32, bf16 }) {
  const rate = (r) => `${r.gflops} GFLOP/s (ours ${r.own}${r.torch ? `, oneDNN ${r.torch}` : ''})`;
  return `ceilings on ${count} threads: f32 ${rate(f32)}, bf16 ${rate(bf16)}, copy ${copyGbs} GB/s`;
}
