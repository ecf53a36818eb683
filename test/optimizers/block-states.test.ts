// States in codes lie in memory as the nearest values of their maps: bitsandbytes' in 8 bits, arXiv 2309.01507's in 4.
import { describe, expect, it } from 'vitest';
import type { DeviceName } from '../../lib/core/device.js';
import { Tensor } from '../../lib/core/tensor.js';
import * as ops from '../../lib/native/ops.js';
import { TestContext } from '../ops/context.js';
import { readJson } from '../parity/fixture.js';

interface Quantized {
  codes: number[];
  absmax: number[];
}
const fixture = readJson<{ signed: number[]; signed4: number[]; unsigned4: number[]; quantized: { x: Quantized; square: Quantized } }>(
  import.meta.dirname,
  '..',
  'fixtures',
  'optimizers',
  'codes.json',
);

describe.each<DeviceName>(['ref', 'cpu'])('%s', (device) => {
  it('stores the nearest codes of the maps and the magnitudes of the blocks', () => {
    const elements = 1024;
    const x = Float32Array.from({ length: elements }, (_, i) => Math.sin(0.37 * i) * Math.exp(-0.07 * (i % 256)));
    const make = (dtype: 'f32' | 'u8', shape: number[]) => Tensor.allocate(dtype, shape, 'other');
    const [weight, grad] = [make('f32', [elements]), make('f32', [elements])];
    const [state0, state1, absmax0, absmax1] = [make('u8', [elements]), make('u8', [elements]), make('f32', [4]), make('f32', [4])];
    grad.write(x);
    // Without memory of the past the moments are the gradient and its square.
    const moments = { updateKind: ops.updateKinds.indexOf('adamw'), hyper0: 0, hyper1: 0, hyper2: 1e-8, learningRate: 1 };
    ops.optimizerUpdate(new TestContext(device), { weight, grad, state0, state1, absmax0, absmax1, ...moments });

    const { x: first, square } = fixture.quantized;
    const zero = fixture.signed.indexOf(0);
    // As in the update kernels of bitsandbytes, a negative number keeps its sign.
    const keptSign = first.codes.map((c, i) => ((x[i] as number) < 0 && c === zero ? c - 1 : c));
    expect(keptSign).not.toEqual(first.codes);
    expect(Array.from(state0.read())).toEqual(keptSign);
    expect(Array.from(absmax0.read())).toEqual(first.absmax);
    expect(Array.from(state1.read())).toEqual(square.codes);
    expect(Array.from(absmax1.read())).toEqual(square.absmax);
    for (const t of [weight, grad, state0, state1, absmax0, absmax1]) t.dispose();
  });

  it('packs two 4-bit codes a byte, the first in the upper half, with a magnitude for 128 elements', () => {
    const elements = 331; // the last byte holds one code, the last block 75
    const x = Float32Array.from({ length: elements }, (_, i) => (i < 128 ? 0 : Math.sin(0.37 * i) * Math.exp(-0.03 * (i % 128))));
    const bytes = Math.ceil(elements / 2);
    const make = (dtype: 'f32' | 'u8', n: number) => Tensor.allocate(dtype, [n], 'other');
    const [weight, grad] = [make('f32', elements), make('f32', elements)];
    const [state0, state1, absmax0, absmax1] = [make('u8', bytes), make('u8', bytes), make('f32', 3), make('f32', 3)];
    grad.write(x);
    const moments = { updateKind: ops.updateKinds.indexOf('adamw'), hyper0: 0, hyper1: 0, hyper2: 1e-8, learningRate: 1, stateBits: 4 };
    ops.optimizerUpdate(new TestContext(device), { weight, grad, state0, state1, absmax0, absmax1, ...moments });

    const magnitudes = (values: Float32Array) =>
      [0, 128, 256].map((at) => values.slice(at, at + 128).reduce((most, v) => Math.max(most, Math.abs(v)), 0));
    const codes = (values: Float32Array, map: readonly number[]) => {
      const largest = magnitudes(values);
      return Array.from(values, (v, i) => {
        const most = largest[Math.floor(i / 128)] as number;
        if (most === 0) return Math.max(0, map.indexOf(0));
        const distances = map.map((m) => Math.abs(m - v / most));
        return distances.indexOf(Math.min(...distances));
      });
    };
    const packed = (c: number[]) => Array.from({ length: bytes }, (_, i) => 16 * (c[2 * i] as number) + (c[2 * i + 1] ?? 0));
    const square = x.map((v) => v * v);
    const [first, second] = [codes(x, fixture.signed4), codes(square, fixture.unsigned4)];
    expect(new Set(first).size).toBeGreaterThan(12);
    expect(Array.from(state0.read())).toEqual(packed(first));
    expect(Array.from(state1.read())).toEqual(packed(second));
    expect(Array.from(absmax0.read())).toEqual(magnitudes(x));
    expect(Array.from(absmax1.read())).toEqual(magnitudes(square));
    for (const t of [weight, grad, state0, state1, absmax0, absmax1]) t.dispose();
  });
});
