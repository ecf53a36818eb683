import { describe, expect, it } from 'vitest';
import type { Parameter } from '../../lib/core/parameter.js';
import { DoraAdapter } from '../../lib/methods/dora-adapter.js';
import type { Session } from '../../lib/trainer/session.js';
import { fixtureNames, fixturePath } from '../parity/fixture.js';
import { openSession, oracle } from '../parity/model-session.js';
import { type Settings, sampleBatch } from './sessions.js';

interface DoraLayer {
  weight: Parameter;
  adapter: DoraAdapter;
}

const doraLayers = (session: Session): DoraLayer[] =>
  [...session.model.linears()].flatMap(({ weight, adapter }) => (adapter instanceof DoraAdapter ? [{ weight, adapter }] : []));

/** Norms of the rows of W + s B A, from the whole matrix. */
function rowNorms({ weight, adapter: { a, b, scale, rank } }: DoraLayer): Float64Array {
  const [W, A, B] = [weight.value.read(), a.value.read(), b.value.read()];
  const [rows, cols] = weight.shape as [number, number];
  return Float64Array.from({ length: rows }, (_, m) => {
    let square = 0;
    for (let k = 0; k < cols; k++) {
      let w = W[m * cols + k] as number;
      for (let r = 0; r < rank; r++) w += scale * (B[m * rank + r] as number) * (A[r * cols + k] as number);
      square += w * w;
    }
    return Math.sqrt(square);
  });
}

/** d loss / d direction by central differences with Richardson's extrapolation, beside the gradient's own answer. */
function directional(model: string, settings: Settings): { numeric: number; analytic: number } {
  const batch = sampleBatch();
  const session = openSession(fixturePath(model), settings, [batch], oracle);
  // B starts at zero, where A has no gradient: move away from it first.
  const start = session.trained.map((p, k) => {
    const values = Float64Array.from(p.value.read(), (x, i) => x + 0.02 * Math.sin(i + 7 * k));
    p.value.write(values);
    return values;
  });
  session.accumulateGradients([batch]);
  const directions = start.map((values, k) => values.map((_, i) => Math.cos(3 * i + k)));
  let analytic = 0;
  session.trained.forEach((p, k) => {
    const g = session.gradient(p)?.read() as Float64Array;
    g.forEach((x, i) => {
      analytic += x * (directions[k]?.[i] as number);
    });
  });
  const heldNorms = doraLayers(session).map(rowNorms);
  const lossAt = (t: number) => {
    session.trained.forEach((p, k) => p.value.write((start[k] as Float64Array).map((x, i) => x + t * (directions[k]?.[i] as number))));
    // The norm of DoRA is a constant to the gradient: magnitudes make up for its change.
    doraLayers(session).forEach((layer, k) => {
      const { value } = layer.adapter.magnitude;
      const norms = rowNorms(layer);
      value.write((value.read() as Float64Array).map((m, i) => (m * (norms[i] as number)) / (heldNorms[k]?.[i] as number)));
    });
    return session.accumulateGradients([batch]);
  };
  const central = (h: number) => (lossAt(h) - lossAt(-h)) / (2 * h);
  // One difference alone is off by h^2 times the third derivative, which is large along this direction.
  const numeric = (4 * central(5e-6) - central(1e-5)) / 3;
  session.dispose();
  return { numeric, analytic };
}

describe.each(fixtureNames)('gradient of the whole model in float64: %s', (model) => {
  it.each<[string, Settings]>([
    ['every weight', { method: { type: 'full' } }],
    ['every weight, recomputed', { method: { type: 'full' }, checkpointing: 'block' }],
    ['lora', { method: { type: 'lora', rank: 3 } }],
    ['lora with dropout, recomputed', { method: { type: 'lora', rank: 3, dropout: 0.25 }, checkpointing: 'block' }],
    ['dora', { method: { type: 'dora', rank: 3 } }],
    ['dora, recomputed, MLP in tiles', { method: { type: 'dora', rank: 3, useRslora: true }, checkpointing: 'block', mlpTileRows: 32 }],
    ['ia3', { method: { type: 'ia3' } }],
    [
      'ia3 on some inputs and all outputs',
      { method: { type: 'ia3', targets: ['*_proj'], feedForwardTargets: ['*v_proj', 'o_proj', '*up_proj'] } },
    ],
    [
      'ia3 on all inputs, recomputed',
      { method: { type: 'ia3', targets: ['*_proj'], feedForwardTargets: ['*_proj'] }, checkpointing: 'block' },
    ],
    ['norms', { method: { type: 'norms' } }],
    ['chosen modules', { method: { type: 'full', targets: ['*down_proj', 'layers.0.*', 'norm'] } }],
    ['the last layer', { method: { type: 'full', trainLastLayers: 1 } }],
  ])('%s', (_name, settings) => {
    const { numeric, analytic } = directional(model, settings);
    expect(Math.abs(analytic)).toBeGreaterThan(1e-6);
    expect(Math.abs(numeric - analytic) / Math.abs(analytic)).toBeLessThan(2e-7);
  });
});
