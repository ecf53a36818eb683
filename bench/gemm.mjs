#!/usr/bin/env node
// GFLOP/s of the cpu matrix products at the shapes of a SmolLM2-135M layer and head, in the three layouts, one line each:
//   NT  y = x W^T   (linear_forward)    NN  dx = dy W   (linear_backward_input)    TN  dW = dy^T x   (linear_backward_weight)
// Usage: node bench/gemm.mjs [--tokens 1024] [--dtype f32] [--weight f32] [--threads 2,1] [--seconds 1]
// Best and median over repetitions in `seconds` each; the ratio is to --peak GFLOP/s per thread, if given (register FMA peak).
import { parseArgs } from 'node:util';
import { addon, allocate, prepare, random } from './native-ops.mjs';

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
