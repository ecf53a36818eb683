#!/usr/bin/env node
// GFLOP/s of the cpu matrix products at the shapes of a SmolLM2-135M layer and head, in the three layouts, one line each:
//   NT  y = x W^T   (linear_forward)    NN  dx = dy W   (linear_backward_input)    TN  dW = dy^T x   (linear_backward_weight)
// Usage: node bench/gemm.mjs [--tokens 1024] [--dtype f32] [--weight f32] [--threads 2,1] [--seconds 1]
// Best and median over repetitions in `seconds` each; the ratio is to --peak GFLOP/s per thread, if given (register FMA peak).
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    tokens: { type: 'string', default: '1024' },
    dtype: { type: 'string', default: 'f32' },
    weight: { type: 'string' },
    threads: { type: 'string', default: '2,1' },
    seconds: { type: 'string', default: '1' },
    peak: { type: 'string' },
    shapes: { type: 'string', default: '576x576,576x192,576x1536,1536x576,576x49152' },
  },
});

const addon = createRequire(import.meta.url)('node-gyp-build')(join(dirname(fileURLToPath(import.meta.url)), '..'));
const { ops, dtypes } = addon.describe();
const cpu = 1;
const randomFill = ops.findIndex((op) => op.name === 'random_fill');

function allocate(dtype, shape) {
  const index = dtypes.findIndex((d) => d.name === dtype);
  const { blockElements, blockBytes } = dtypes[index];
  const count = shape.reduce((a, b) => a * b, 1);
  return { segment: addon.allocate((count / blockElements) * blockBytes, 4), dtype: index, shape };
}

function setArguments(op, args) {
  const slots = addon.arguments;
  let at = 3;
  for (const field of ops[op].fields) {
    const value = args[field.name];
    if (field.kind !== 'tensor') {
      slots[at++] = value ?? field.default;
      continue;
    }
    if (value === undefined) slots[at] = -1;
    else slots.set([value.segment, 0, value.dtype, value.shape.length, value.shape.at(-1), ...value.shape, 0, 0].slice(0, 9), at);
    at += 9;
  }
}

function prepare(name, args) {
  const op = ops.findIndex((o) => o.name === name);
  setArguments(op, args);
  const bytes = ops[op].workspace ? addon.workspaceBytes(cpu, op) : 0;
  const workspace = bytes > 0 ? addon.allocate(bytes, 4) : -1;
  const run = () => {
    setArguments(op, args);
    addon.arguments.set([workspace, 0, bytes]);
    addon.call(cpu, op, false);
  };
  return { run, bytes, release: () => workspace >= 0 && addon.release(workspace) };
}

function random(dtype, shape, seed) {
  const t = allocate(dtype, shape);
  if (['f32', 'bf16', 'f16'].includes(dtype)) {
    setArguments(randomFill, { y: t, low: -1, high: 1, seed });
    addon.arguments[0] = -1;
    addon.call(cpu, randomFill, false);
  } else {
    // Blocks of arbitrary nibbles with an f16 scale of 2^-6.
    const bytes = new Uint8Array((shape[0] * shape[1] * dtypes[t.dtype].blockBytes) / dtypes[t.dtype].blockElements);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 24;
    for (let i = 0; i < bytes.length; i += dtypes[t.dtype].blockBytes) bytes.set([0x00, 0x24], i);
    addon.write(t.segment, 0, bytes);
  }
  return t;
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
const tokens = Number(options.tokens);
const weightType = options.weight ?? options.dtype;
console.log(`${addon.instructionSet()}, ${tokens} tokens, activations ${options.dtype}, weight ${weightType}`);
for (const threads of options.threads.split(',').map(Number)) {
  addon.threads(threads);
  for (const shape of options.shapes.split(',')) {
    const [inner, outputs] = shape.split('x').map(Number);
    const x = random(options.dtype, [tokens, inner], 1);
    const y = random(options.dtype, [tokens, outputs], 2);
    const weight = random(weightType, [outputs, inner], 3);
    const cells = [];
    for (const layout of ['NT', 'NN', 'TN']) {
      const dweight = layout === 'TN' ? allocate('f32', [outputs, inner]) : undefined;
      const call =
        layout === 'NT'
          ? prepare('linear_forward', { x, weight, y })
          : layout === 'NN'
            ? prepare('linear_backward_input', { dy: y, weight, dx: x })
            : prepare('linear_backward_weight', { dy: y, x, dweight });
      call.run();
      const times = [];
      const end = performance.now() + 1000 * Number(options.seconds);
      while (performance.now() < end || times.length < 3) {
        const start = performance.now();
        call.run();
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      const rate = (ms) => (2 * tokens * inner * outputs) / ms / 1e6;
      const best = rate(times[0]);
      const ratio = options.peak ? ` = ${((100 * best) / (threads * Number(options.peak))).toFixed(0)}%` : '';
      const median = rate(quantile(times, 0.5));
      cells.push(`${layout} ${best.toFixed(0)}${ratio} (median ${median.toFixed(0)}, ${(call.bytes / 2 ** 20).toFixed(1)} MiB)`);
      call.release();
      if (dweight) addon.release(dweight.segment);
    }
    console.log(`${threads} threads  ${shape.padEnd(11)} ${cells.join('   ')}`);
    for (const t of [x, y, weight]) addon.release(t.segment);
  }
}
