// Results that can be worked out by hand, or must hold whatever the kernel does.
import { describe, expect, it } from 'vitest';
import type { DeviceName } from '../../lib/core/device.js';
import type { DType } from '../../lib/core/dtype.js';
import { Tensor } from '../../lib/core/tensor.js';
import { TestContext } from './context.js';
import { callOp } from './run-case.js';
import { decode, encode } from './storage.js';

const devices: DeviceName[] = ['ref', 'cpu'];

function place(dtype: DType, shape: readonly number[], bytes?: Uint8Array): Tensor {
  const t = Tensor.allocate(dtype, shape, 'other');
  if (bytes) t.writeBytes(bytes);
  return t;
}

/** A tensor of values rounded to its type. */
const of = (dtype: DType, shape: readonly number[], values: ArrayLike<number>): Tensor => place(dtype, shape, encode(dtype, values));
const full = (n: number, value: number): Float64Array => new Float64Array(n).fill(value);

/** Runs an op, returns the values of one argument and gives all memory back. */
function run(device: DeviceName, op: string, args: Record<string, Tensor | number>, result: string): number[] {
  try {
    callOp(new TestContext(device), op, args);
    const t = args[result] as Tensor;
    return [...decode(t.dtype, t.readBytes(), t.cols)];
  } finally {
    for (const t of Object.values(args)) if (t instanceof Tensor) t.dispose();
  }
}

describe.each(devices)('quantized blocks on %s', (device) => {
  const halves = { one: [0x00, 0x3c], half: [0x00, 0x38], minusTwo: [0x00, 0xc0] }; // f16 1, 0.5, -2
  const dequantized = (dtype: DType, bytes: number[]): number[] =>
    run(device, 'cast', { x: place(dtype, [1, 32], Uint8Array.from(bytes)), y: place('f32', [1, 32]) }, 'y');
  const nibbles = Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4)); // 0..15, then 15..0

  it('q8_0: scale times signed byte', () => {
    const quants = Array.from({ length: 32 }, (_, i) => (i === 31 ? 0x80 : i === 30 ? 0x7f : i));
    const expected = [...Array.from({ length: 30 }, (_, i) => i / 2), 63.5, -64];
    expect(dequantized('q8_0', [...halves.half, ...quants])).toEqual(expected);
  });
  it('q4_0: scale times nibble less 8, low halves first', () => {
    const up = Array.from({ length: 16 }, (_, i) => -2 * (i - 8));
    const down = Array.from({ length: 16 }, (_, i) => -2 * (7 - i));
    expect(dequantized('q4_0', [...halves.minusTwo, ...nibbles]).map((x) => x + 0)).toEqual([...up, ...down].map((x) => x + 0));
  });
  it('q4_1: scale times nibble plus minimum', () => {
    const up = Array.from({ length: 16 }, (_, i) => i / 2 - 2);
    const down = Array.from({ length: 16 }, (_, i) => (15 - i) / 2 - 2);
    expect(dequantized('q4_1', [...halves.half, ...halves.minusTwo, ...nibbles])).toEqual([...up, ...down]);
  });
});

describe.each(devices)('rounding to 16 bits on %s', (device) => {
  const cast = (to: DType, values: number[]): number[] =>
    run(device, 'cast', { x: of('f32', [values.length], values), y: place(to, [values.length]) }, 'y');

  it('bf16: ties to even, infinities, NaN, signed zero', () => {
    const ulp = 2 ** -7;
    const given = [1 + ulp / 2, 1 + 1.5 * ulp, 1 + 0.51 * ulp, -1 - ulp / 2, 3.4e38, Infinity, -Infinity, NaN, -0, 2 ** -133];
    expect(cast('bf16', given)).toEqual([1, 1 + 2 * ulp, 1 + ulp, -1, Infinity, Infinity, -Infinity, NaN, -0, 2 ** -133]);
  });
  it('f16: ties to even, overflow from 65520, subnormals', () => {
    const ulp = 2 ** -10;
    const given = [1 + ulp / 2, 1 + 1.5 * ulp, 65519, 65520, -70000, NaN, -0, 2 ** -24, 2 ** -25, 3 * 2 ** -25, 2 ** -14 - 2 ** -25];
    expect(cast('f16', given)).toEqual([1, 1 + 2 * ulp, 65504, Infinity, -Infinity, NaN, -0, 2 ** -24, 0, 2 ** -23, 2 ** -14]);
  });
});

describe.each(devices)('stochastic rounding on %s', (device) => {
  const n = 1 << 16;
  // w = 1, step far below half an ulp: nearest rounding loses every update.
  const update = (dtype: DType, learningRate: number, seed: number, stochasticRounding: number): number[] =>
    run(
      device,
      'optimizer_update',
      { weight: of(dtype, [n], full(n, 1)), grad: of('f32', [n], full(n, 1)), learningRate, seed, stochasticRounding },
      'weight',
    );
  const mean = (x: number[]): number => x.reduce((a, b) => a + b, 0) / x.length;

  it.each([
    ['bf16', 2 ** -12, 2 ** -8],
    ['f16', 2 ** -15, 2 ** -11],
  ] as const)('%s keeps the mean of small steps', (dtype, step, below) => {
    expect(new Set(update(dtype, step, 0, 0))).toEqual(new Set([1]));
    const rounded = update(dtype, step, 5, 1);
    expect(new Set(rounded)).toEqual(new Set([1, 1 - below])); // the two neighbours of 1 - step
    const p = step / below;
    const deviation = below * Math.sqrt((p * (1 - p)) / n);
    expect(Math.abs(mean(rounded) - (1 - step))).toBeLessThan(4 * deviation);
    expect(update(dtype, step, 5, 1)).toEqual(rounded);
    expect(update(dtype, step, 6, 1)).not.toEqual(rounded);
  });
  it('leaves numbers of the type, infinities and NaN alone', () => {
    const values = [1.5, -0.25, 0, Infinity, -Infinity, NaN, 2 ** -126];
    const args = { weight: of('bf16', [7], values), grad: of('f32', [7], full(7, 0)), learningRate: 0.1, stochasticRounding: 1 };
    expect(run(device, 'optimizer_update', args, 'weight')).toEqual(values);
  });
});

describe.each(devices)('identities on %s', (device) => {
  it('a uniform distribution costs ln V', () => {
    const [n, v, c] = [3, 50, 4];
    const args = {
      h: of('f32', [n, c], full(n * c, 0)),
      weight: of('f32', [v, c], full(v * c, 1)),
      targets: of('i32', [n], [0, 7, 49]),
      weights: of('f32', [n], full(n, 1 / n)),
      lossSum: of('f64', [1], [0]),
    };
    expect(run(device, 'linear_cross_entropy', args, 'lossSum')[0]).toBeCloseTo(Math.log(v), 5);
  });
  it.each([NaN, Infinity, -Infinity])('a head input with %s makes the loss NaN, and leaves other tokens alone', (bad) => {
    const [n, v, c] = [2, 700, 4];
    const args = (h: readonly number[]): Record<string, Tensor> => ({
      h: of('f32', [n, c], h),
      weight: of(
        'f32',
        [v, c],
        Array.from({ length: v * c }, (_, i) => Math.sin(i + 1)),
      ),
      targets: of('i32', [n], [650, 7]),
      weights: of('f32', [n], full(n, 1 / n)),
      lossSum: of('f64', [1], [0]),
      dh: of('f32', [n, c], full(n * c, 0)),
    });
    expect(run(device, 'linear_cross_entropy', args([1, -2, 0.5, 3, 1, bad, 2, 2]), 'lossSum')[0]).toBeNaN();
    const alone = run(device, 'linear_cross_entropy', args([1, -2, 0.5, 3, 1, 2, 2, 2]), 'dh').slice(0, c);
    const beside = run(device, 'linear_cross_entropy', args([1, -2, 0.5, 3, 1, bad, 2, 2]), 'dh');
    expect(beside.slice(0, c)).toEqual(alone);
    expect(beside.slice(c)).toEqual([...full(c, NaN)]);
  });
  it('attention to a single key returns its value', () => {
    const v = [0.5, -1, 2, 3];
    const one = (): Tensor => of('i32', [2], [0, 1]);
    const args = {
      q: of('f32', [1, 4], [9, 8, 7, 6]),
      k: of('f32', [1, 4], v),
      v: of('f32', [1, 4], v),
      cuQ: one(),
      cuK: one(),
      o: place('f32', [1, 4]),
    };
    expect(run(device, 'attention_forward', args, 'o')).toEqual(v);
  });
  it('AdamW takes a first step of the learning rate against the sign of the gradient', () => {
    const args = {
      weight: of('f32', [3], [1, 1, 1]),
      grad: of('f32', [3], [0.3, -20, 0]),
      state0: place('f32', [3]),
      state1: place('f32', [3]),
      updateKind: 1,
      learningRate: 0.125,
      hyper0: 0.9,
      hyper1: 0.999,
      hyper2: 1e-8,
    };
    const weight = run(device, 'optimizer_update', args, 'weight');
    [0.875, 1.125, 1].forEach((w, i) => expect(weight[i]).toBeCloseTo(w, 6));
  });
  it('rope and its inverse give x back', () => {
    const [n, d] = [5, 8];
    const [dtype, digits] = device === 'ref' ? (['f64', 14] as const) : (['f32', 6] as const);
    const x = Array.from({ length: n * d }, (_, i) => Math.sin(i));
    const context = new TestContext(device);
    const positions = of('i32', [n], [0, 1, 100, 2000, 40000]);
    const invFreq = of('f64', [d / 2], [1, 0.1, 0.01, 0.001]);
    const [t, cos, sin] = [of(dtype, [n, d], x), place(dtype, [n, d / 2]), place(dtype, [n, d / 2])];
    callOp(context, 'rope_table', { positions, invFreq, cos, sin });
    callOp(context, 'rope_inplace', { x: t, cos, sin });
    expect(t.read()[d]).not.toBeCloseTo(x[d] as number, 3);
    callOp(context, 'rope_inplace', { x: t, cos, sin, inverse: 1 });
    [...t.read()].forEach((value, i) => expect(value).toBeCloseTo(x[i] as number, digits));
    for (const each of [positions, invFreq, t, cos, sin]) each.dispose();
  });
});

describe.each(devices)('random draws on %s', (device) => {
  const n = 1 << 16;

  it('dropout keeps 1 - p of the elements, and the expectation', () => {
    const y = run(device, 'dropout', { x: of('f32', [n], full(n, 1)), y: place('f32', [n]), p: 0.25, seed: 3 }, 'y');
    const kept = y.filter((v) => v !== 0).length / n;
    expect(Math.abs(kept - 0.75)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / n));
    expect(new Set(y)).toEqual(new Set([0, Math.fround(4 / 3)]));
  });
  it('random_fill has the mean and variance asked for', () => {
    const moments = (args: Record<string, number>): [number, number] => {
      const y = run(device, 'random_fill', { y: place('f32', [n]), seed: 11, ...args }, 'y');
      const mean = y.reduce((a, b) => a + b, 0) / n;
      return [mean, y.reduce((a, b) => a + (b - mean) ** 2, 0) / n];
    };
    const [uniformMean, uniformVariance] = moments({ kind: 0, low: -1, high: 3 });
    expect(uniformMean).toBeCloseTo(1, 1);
    expect(uniformVariance).toBeCloseTo(16 / 12, 1);
    const [normalMean, normalVariance] = moments({ kind: 1, low: 0.5, high: 2 });
    expect(normalMean).toBeCloseTo(0.5, 1);
    expect(normalVariance).toBeCloseTo(4, 0);
  });
  it('sample_token draws with the probabilities of the softmax', () => {
    const rows = 1 << 13;
    const p = [0.5, 0.3, 0.15, 0.05];
    const logits = (): Tensor =>
      of(
        'f32',
        [rows, 4],
        Array.from({ length: rows * 4 }, (_, i) => Math.log(p[i % 4] as number)),
      );
    const frequency = (args: Record<string, number>): number[] => {
      const token = run(
        device,
        'sample_token',
        { logits: logits(), token: place('i32', [rows]), temperature: 1, seed: 2, ...args },
        'token',
      );
      return p.map((_, v) => token.filter((t) => t === v).length / rows);
    };
    frequency({}).forEach((f, v) => expect(Math.abs(f - (p[v] as number))).toBeLessThan(0.025));
    frequency({ topK: 2 }).forEach((f, v) => expect(Math.abs(f - [0.625, 0.375, 0, 0][v]!)).toBeLessThan(0.025));
    frequency({ topP: 0.7 }).forEach((f, v) => expect(Math.abs(f - [0.625, 0.375, 0, 0][v]!)).toBeLessThan(0.025));
    expect(frequency({ topP: 0.01 })).toEqual([1, 0, 0, 0]);
  });
});
