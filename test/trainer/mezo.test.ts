// MeZO: two forward passes, and what they must leave behind.
import { describe, expect, it } from 'vitest';
import { nameStream, randomKey } from '../../lib/core/rng.js';
import { counterNormal } from '../ops/random.js';
import { fixturePath } from '../parity/fixture.js';
import { openSession, oracle, product } from '../parity/model-session.js';
import { sampleBatch } from './sessions.js';

const settings = { method: { type: 'full' }, optimizer: { type: 'mezo', perturbation: 1e-2, weightDecay: 0.1 } } as const;
const seed = 42;

describe.each(['llama', 'gemma2'])('%s', (model) => {
  it('follows the paper in float64, over two micro-batches', () => {
    const batches = [sampleBatch(1), sampleBatch(2)];
    const session = openSession(fixturePath(model), settings, batches, oracle);
    const [epsilon, rate, step] = [1e-2, 1e-3, 3];
    const before = session.trained.map((p) => Float64Array.from(p.value.read()));
    const directions = session.trained.map((p) => {
      const key = randomKey(seed, step, nameStream(p.name));
      return Float64Array.from({ length: p.numElements }, (_, i) => counterNormal(key, i));
    });
    const lossAt = (scale: number): number => {
      session.trained.forEach((p, n) => {
        p.value.write((before[n] as Float64Array).map((w, i) => w + scale * (directions[n]?.[i] as number)));
      });
      const parts = batches.map((b) => session.evaluate(b));
      return parts.reduce((sum, b) => sum + b.sum, 0) / parts.reduce((sum, b) => sum + b.tokens, 0);
    };
    const [above, below] = [lossAt(epsilon), lossAt(-epsilon)];
    lossAt(0);
    const { loss, gradNorm } = session.step(batches, step, rate);
    expect(loss).toBeCloseTo((above + below) / 2, 12);
    expect(gradNorm).toBeUndefined();
    const slope = (above - below) / (2 * epsilon);
    let worst = 0;
    session.trained.forEach((p, n) => {
      p.value.read().forEach((w, i) => {
        const wanted = (before[n]?.[i] as number) * (1 - rate * 0.1) - rate * slope * (directions[n]?.[i] as number);
        worst = Math.max(worst, Math.abs((w as number) - wanted));
      });
    });
    expect(worst).toBeLessThan(1e-12);
    session.dispose();
  });

  it('takes the memory of an evaluation', () => {
    const session = openSession(fixturePath(model), settings, [sampleBatch()], product);
    const { gradients, optimizer, arena } = session.plan();
    expect({ gradients, optimizer }).toEqual({ gradients: 0, optimizer: 0 });
    session.evaluate(sampleBatch());
    expect(session.arenaPeakBytes).toBe(arena);
    session.dispose();
    const lomo = openSession(fixturePath(model), { method: { type: 'full' }, optimizer: { type: 'lomo' } }, [sampleBatch()], product);
    expect(arena).toBeLessThan(0.7 * lomo.plan().arena);
    lomo.dispose();
  });

  it('puts the weights back when a loss is not finite', () => {
    const session = openSession(fixturePath(model), settings, [sampleBatch()], product);
    const norm = session.model.norm.weight.value;
    const spoilt = (norm.read() as Float32Array).map(() => Number.NaN);
    norm.write(spoilt);
    const others = session.trained.filter((p) => p.value !== norm);
    const before = others.map((p) => p.value.read() as Float32Array);
    expect(() => session.step([sampleBatch()], 1, 1e-3)).toThrow(expect.objectContaining({ code: 'ERR_NONFINITE_LOSS' }));
    others.forEach((p, n) => {
      p.value.read().forEach((w, i) => expect(Math.abs((w as number) - (before[n]?.[i] as number))).toBeLessThan(1e-6));
    });
    session.dispose();
  });
});
