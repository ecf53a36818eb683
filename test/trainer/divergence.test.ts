// Runs whose gradients grow beyond numbers while their loss is still one.
import { expect, it } from 'vitest';
import type { FinetuneError } from '../../lib/native/errors.js';
import { fixturePath } from '../parity/fixture.js';
import { openSession, product } from '../parity/model-session.js';
import { sampleBatch, trainedBytes } from './sessions.js';

it.each([
  ['accumulated', { type: 'sgd' as const }, 'are those of the step before'],
  ['fused, clipped exactly', { type: 'lomo' as const, exactClip: true }, 'are those of the step before'],
  ['fused, clipped by the norm before', { type: 'lomo' as const, previousNormClip: true }, 'have been changed by it'],
])('a gradient norm that is no number: %s', (_name, optimizer, weights) => {
  const batches = [sampleBatch(1), sampleBatch(2)] as const;
  const settings = { method: { type: 'full' }, optimizer, maxGradNorm: 1 } as const;
  const session = openSession(fixturePath('llama'), settings, batches, product);
  session.step([batches[0]], 1, 1e6);
  const before = trainedBytes(session);
  let error: FinetuneError | undefined;
  try {
    session.step([batches[1]], 2, 1e6);
  } catch (e) {
    error = e as FinetuneError;
  }
  const { step, gradNorm } = error?.details ?? {};
  expect(error?.code).toBe('ERR_NONFINITE_LOSS');
  expect([step, Number.isFinite(gradNorm)]).toEqual([2, false]);
  expect(error?.message).toMatch(
    new RegExp(`^step 2: the norm of the gradients became ${gradNorm}; the weights ${weights}.* Lower learningRate`),
  );
  if (weights.startsWith('are')) expect(trainedBytes(session)).toEqual(before);
  session.dispose();
});
