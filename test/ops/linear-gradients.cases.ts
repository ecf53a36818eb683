// Gradients of linear layers that are made together: several weights with one x, and both gradients of a layer.
import type { DType } from '../../lib/core/dtype.js';
import { type Args, layersOf, linearBackwardInput, linearBackwardWeight, numbered, scaleOf } from './linear.cases.js';
import { type Inputs, type Matrix, type OpCase, type OpSuite, tensor } from './suite.js';

const floats = ['f32', 'bf16', 'f16'] as const;

function sharedCase(name: string, n: number, k: number, widths: readonly number[], type: DType, pad = 0): OpCase {
  return {
    name: `${name} N${n} K${k} M${widths.join(', ')} ${type}`,
    args: {
      x: tensor(type, [n, k], { rowPad: pad }),
      ...numbered(
        widths.map((m, i) => ({
          dy: tensor(type, [n, m], { rowPad: pad, scale: scaleOf(n) }),
          dweight: tensor('f32', [m, k]),
          scale: 0.5 + i,
          accumulate: i % 2,
        })),
      ),
    },
  };
}

const own = (inputs: Inputs, keys: readonly string[], i: number): Inputs =>
  Object.fromEntries(keys.map((key) => [key, inputs[`${key}${i}`]]));

const linearBackwardWeightShared: OpSuite = {
  op: 'linear_backward_weight_shared',
  cases: [
    sharedCase('no token', 0, 32, [4, 4], 'f32'),
    sharedCase('one layer', 21, 40, [9], 'bf16'),
    ...floats.flatMap((type) => [
      sharedCase('two layers', 533, 101, [16, 16], type, 3),
      sharedCase('three layers', 300, 150, [16, 8, 1], type),
      sharedCase('rows that share no panel', 70, 33, [5, 24], type, 1),
    ]),
    sharedCase('too wide together', 45, 67, [40, 30], 'f32'),
    sharedCase('more outputs than inputs', 45, 20, [30, 7], 'bf16'),
  ],
  bench: (['f32', 'bf16'] as const).flatMap((type) => [
    sharedCase('SmolLM2 LoRA r16', 1024, 576, [16, 16, 16], type),
    sharedCase('SmolLM2 LoRA r16', 1024, 576, [16, 16], type),
  ]),
  naive(inputs, numbers, f, types) {
    const outputs = layersOf
      .filter((i) => inputs[`dy${i}`])
      .map((i) => {
        const given = { ...own(inputs, ['dy', 'dweight'], i), x: inputs.x };
        const { dweight } = linearBackwardWeight.naive(
          given,
          { scale: numbers[`scale${i}`] ?? 1, accumulate: numbers[`accumulate${i}`] ?? 0 },
          f,
          types,
        );
        return [`dweight${i}`, dweight as Matrix];
      });
    return Object.fromEntries(outputs);
  },
};

function bothCase(name: string, n: number, k: number, m: number, type: DType, weight: DType, extra: Args = {}, pad = 0): OpCase {
  return {
    name: `${name} N${n} K${k} M${m} ${type} x ${weight}`,
    args: {
      dy: tensor(type, [n, m], { rowPad: pad, scale: scaleOf(n) }),
      weight: tensor(weight, [m, k], { scale: scaleOf(m) }),
      x: tensor(type, [n, k], { rowPad: pad }),
      dx: tensor(type, [n, k], { rowPad: pad }),
      dweight: tensor('f32', [m, k]),
      ...extra,
    },
  };
}

const linearBackward: OpSuite = {
  op: 'linear_backward',
  cases: [
    bothCase('no token', 0, 8, 16, 'f32', 'f32'),
    ...[1, 8, 16, 40, 64].flatMap((k) =>
      floats.map((type) => bothCase('narrow', 45, k, 101, type, 'f32', { scale: 0.5, accumulate: 1 }, 3)),
    ),
    ...floats.map((type) => bothCase('several blocks', 533, 16, 149, type, 'f32', { scale: 2 })),
    bothCase('several blocks of pairs', 2100, 5, 37, 'bf16', 'bf16'),
    bothCase('wide', 45, 70, 33, 'f32', 'f32', { accumulate: 1 }),
    bothCase('wide', 45, 96, 33, 'bf16', 'q4_1'),
  ],
  bench: (['f32', 'bf16'] as const).flatMap((type) => [
    bothCase('SmolLM2 LoRA r16', 1024, 16, 576, type, 'f32'),
    bothCase('SmolLM2 LoRA r16', 1024, 16, 1536, type, 'f32'),
  ]),
  naive(inputs, { scale = 1, accumulate = 0 }, f, types) {
    return {
      ...linearBackwardInput.naive(inputs, {}, f, types),
      ...linearBackwardWeight.naive(inputs, { scale, accumulate }, f, types),
    };
  },
};

export const suites: OpSuite[] = [linearBackwardWeightShared, linearBackward];
