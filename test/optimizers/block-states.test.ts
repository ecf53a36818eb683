// 8-bit states lie in memory as the nearest values of bitsandbytes' maps.
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
const fixture = readJson<{ signed: number[]; quantized: { x: Quantized; square: Quantized } }>(
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
});
