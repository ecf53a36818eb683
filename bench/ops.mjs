#!/usr/bin/env node
// GB/s or GFLOP/s of the cpu ops outside of matrix products, at the shapes of a SmolLM2-135M layer.
// Usage: node bench/ops.mjs [--tokens 1024] [--dtype f32] [--threads 1] [--seconds 0.3] [--op <name>]
// Best of the repetitions in `seconds`, in processor time per thread: other programs on the machine disturb it least.
// GB/s counts every tensor once; attention counts the multiply-adds of visible (query, key) pairs only.
import { parseArgs } from 'node:util';
import { addon, allocate, prepare, random } from './native-ops.mjs';

const { values: options } = parseArgs({
  options: {
    tokens: { type: 'string', default: '1024' },
    dtype: { type: 'string', default: 'f32' },
    threads: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '0.3' },
    op: { type: 'string' },
  },
});
const [C, F, V, H, K, D] = [576, 1536, 49152, 9, 3, 64];
const N = Number(options.tokens);
const { dtype } = options;
const threads = addon.threads(Number(options.threads));
let seed = 1;

const f = (...shape) => random(dtype, shape, seed++);
const f32 = (...shape) => random('f32', shape, seed++);
const f64 = (...shape) => allocate('f64', shape);
function i32(values) {
  const t = allocate('i32', [values.length]);
  addon.write(t.segment, 0, new Uint8Array(Int32Array.from(values).buffer));
  return t;
}
const range = (n, g) => Array.from({ length: n }, (_, i) => g(i));

/** Sequences of equal length. `keys` longer than `queries` = a key cache. */
function attention(sequences, queries, keys) {
  const [n, nk] = [sequences * queries, sequences * keys];
  const flops = 4 * D * H * sequences * (queries * keys - (queries * (queries - 1)) / 2);
  const shape = { heads: H, kv_heads: K, scale: 1 / Math.sqrt(D) };
  const cu = { cu_q: i32(range(sequences + 1, (i) => i * queries)), cu_k: i32(range(sequences + 1, (i) => i * keys)) };
  const forward = { q: f(n, C), k: f(nk, K * D), v: f(nk, K * D), o: f(n, C), lse: f32(n, H), ...cu, ...shape };
  const backward = { ...forward, dout: f(n, C), dq: f(n, C), dk: f(nk, K * D), dv: f(nk, K * D) };
  return { forward, backward, flops };
}

const bytesOf = (args) =>
  Object.values(args).reduce((sum, t) => {
    if (typeof t !== 'object') return sum;
    const { blockElements, blockBytes } = addon.describe().dtypes[t.dtype];
    return sum + (t.shape.reduce((a, b) => a * b, 1) / blockElements) * blockBytes;
  }, 0);

const cases = [
  ['rms_norm_forward', '', () => ({ x: f(N, C), weight: f(C), y: f(N, C), rstd: f32(N) })],
  [
    'rms_norm_backward',
    '',
    () => ({ dy: f(N, C), x: f(N, C), weight: f(C), rstd: f32(N), dresidual: f(N, C), dx: f(N, C), dweight: f32(C) }),
  ],
  ['rope_table', '', () => ({ positions: i32(range(N, (i) => i)), inv_freq: f32(D / 2), cos: f32(N, D / 2), sin: f32(N, D / 2) })],
  ['rope_inplace', `${H} heads`, () => ({ x: f(N, C), cos: f32(N, D / 2), sin: f32(N, D / 2), heads: H })],
  ...['silu', 'gelu_tanh', 'gelu'].flatMap((name, kind) => [
    ['gated_activation_forward', name, () => ({ gate: f(N, F), up: f(N, F), y: f(N, F), kind })],
    ['gated_activation_backward', name, () => ({ dy: f(N, F), gate: f(N, F), up: f(N, F), dgate: f(N, F), dup: f(N, F), kind })],
  ]),
  ['add', '', () => ({ a: f(N, C), b: f(N, C), y: f(N, C) })],
  ['scale', '', () => ({ x: f(N, C), y: f(N, C), scale: 2 })],
  ['fill', '', () => ({ y: f(N, C), value: 1 })],
  ...['bf16', 'q8_0', 'q4_0', 'q4_1'].map((from) => ['cast', `from ${from}`, () => ({ x: random(from, [N, C], seed++), y: f(N, C) })]),
  ['dropout', '', () => ({ x: f(N, C), y: f(N, C), p: 0.1 })],
  ['softcap_forward', '', () => ({ x: f(N, C), y: f(N, C), softcap: 30 })],
  ['gather_rows', '', () => ({ x: f(N, C), index: i32(range(N, (i) => (i * 389) % N)), y: f(N, C) })],
  ['random_fill', 'normal', () => ({ y: f(N, C), kind: 1 })],
  ['sum_of_squares', '', () => ({ x: f(8 * N, C), out: f64(1) })],
  ['sample_token', 'greedy', () => ({ logits: f(1, V), token: i32([0]) })],
  ['sample_token', 'top_k 40, top_p 0.9', () => ({ logits: f(1, V), token: i32([0]), temperature: 1, top_k: 40, top_p: 0.9 })],
  ...[
    ['4 x 256', 4, 256, 256],
    ['1 x 1024', 1, 1024, 1024],
    ['1 query, 2048 keys', 1, 1, 2048],
  ].flatMap(([name, ...sizes]) => [
    ['attention_forward', name, () => attention(...sizes).forward, () => attention(...sizes).flops],
    ...(sizes[1] > 1 ? [['attention_backward', name, () => attention(...sizes).backward, () => 2.5 * attention(...sizes).flops]] : []),
  ]),
];

console.log(`${addon.instructionSet()}, ${threads} threads, ${N} tokens, ${dtype}`);
for (const [op, detail, make, flops] of cases) {
  if (options.op && options.op !== op) continue;
  const args = make();
  const call = prepare(op, args);
  call.run();
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * Number(options.seconds);
  for (let i = 0; i < 5 || performance.now() < end; i++) {
    const before = process.cpuUsage();
    // Processor time comes in microseconds: short ops are repeated.
    const repeats = best < 0.2 ? 20 : 1;
    for (let r = 0; r < repeats; r++) call.run();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1000 / repeats / threads);
  }
  const rate = flops ? `${(flops() / best / 1e6).toFixed(1)} GFLOP/s` : `${(bytesOf(args) / best / 1e6).toFixed(1)} GB/s`;
  console.log(`${`${op} ${detail}`.padEnd(46)} ${best.toFixed(3).padStart(8)} ms ${rate.padStart(16)}`);
  call.release();
  for (const t of Object.values(args)) if (typeof t === 'object') addon.release(t.segment);
}
