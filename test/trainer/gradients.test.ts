import { describe, expect, it } from 'vitest';
import { fixtureNames, fixturePath } from '../parity/fixture.js';
import { openSession, oracle } from '../parity/model-session.js';
import { type Settings, sampleBatch } from './sessions.js';

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
  const lossAt = (t: number) => {
    session.trained.forEach((p, k) => p.value.write((start[k] as Float64Array).map((x, i) => x + t * (directions[k]?.[i] as number))));
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
    ['the last layer', { method: { type: 'full', trainLastLayers: 1 } }],
  ])('%s', (_name, settings) => {
    const { numeric, analytic } = directional(model, settings);
    expect(Math.abs(analytic)).toBeGreaterThan(1e-6);
    expect(Math.abs(numeric - analytic) / Math.abs(analytic)).toBeLessThan(2e-7);
  });
});
