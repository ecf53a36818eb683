import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../../lib/trainer/session.js';
import { type Expected, fixtureNames, fixturePath, pack, readExpected, summarize, summaryDistance } from './fixture.js';
import { largestDifference, logitsOf, openSession, oracle, product } from './model-session.js';

// The oracle does the arithmetic of the fixtures, in another order. transformers' own f32 run is up to 1.1e-5 off in logits,
// 1.2e-6 in losses and 4.5e-6 in gradients (expected.json: float32).
const cases = [
  { ...oracle, checkpointing: 'none', logits: 1e-10, loss: 1e-11, gradients: 1e-10 },
  { ...oracle, checkpointing: 'block', logits: 1e-10, loss: 1e-11, gradients: 1e-10 },
  { ...product, checkpointing: 'none', logits: 5e-5, loss: 5e-6, gradients: 2e-5 },
] as const;

describe.each(cases)('transformers on $device, checkpointing $checkpointing', ({ device, dtype, checkpointing, ...tolerance }) => {
  describe.each(fixtureNames)('%s', (name) => {
    let want: Expected;
    let session: Session;
    let batch: ReturnType<typeof pack>;

    beforeAll(() => {
      want = readExpected(name);
      batch = pack(want.sequences, want.labels);
      const method = { type: 'full', dtype: 'f32' } as const;
      session = openSession(fixturePath(name), { method, checkpointing }, [batch], { device, dtype });
    });
    afterAll(() => session?.dispose());

    test('logits', () => {
      const logits = logitsOf(session, batch, { device, dtype });
      const vocabulary = session.model.config.vocabSize;
      for (const { sequence, position, values } of want.logits) {
        const row = (batch.cuSeqlens[sequence] as number) + position;
        const got = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
        expect(largestDifference(got, values), `sequence ${sequence} position ${position}`).toBeLessThan(tolerance.logits);
      }
    });

    test('loss and every gradient', () => {
      expect(batch.labelRows.length).toBe(want.labelTokens);
      const loss = session.accumulateGradients([batch]);
      expect(Math.abs(loss - want.loss)).toBeLessThan(tolerance.loss);

      expect(session.trained.map((p) => p.name).sort()).toEqual(Object.keys(want.gradients).sort());
      const off = session.trained.flatMap((p) => {
        const expected = want.gradients[p.name] as Expected['gradients'][string];
        const distance = summaryDistance(summarize(session.gradient(p)?.read() ?? []), expected);
        return distance < tolerance.gradients ? [] : [`${p.name}: ${distance}`];
      });
      expect(off).toEqual([]);
    });
  });
});
