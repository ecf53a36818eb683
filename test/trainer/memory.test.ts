import { describe, expect, it } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import { openModel } from '../../lib/formats/model-source.js';
import { planRun } from '../../lib/trainer/plan.js';
import { fixturePath } from '../parity/fixture.js';
import { openSession, product } from '../parity/model-session.js';
import { hasShared, sharedPath } from '../shared.js';
import { privateBytes, type Settings, sampleBatch, trainings } from './sessions.js';

const models = ['llama', 'smollm2', 'phi3', 'gemma2', 'qwen3'];

describe.each(models)('memory of %s', (model) => {
  describe.each(model === 'gemma2' ? (['none', 'block', 3] as const) : (['none', 'block'] as const))(
    'with checkpointing %s',
    (checkpointing) => {
      it.each(Object.entries(trainings))('%s takes the planned bytes, all of them before the first step', (_name, settings) => {
        const path = fixturePath(model);
        const batch = sampleBatch();
        const config = { ...settings, checkpointing };
        const source = openModel(path);
        const capacity = { tokens: batch.inputIds.length, sequences: 3, labelTokens: batch.labelRows.length };
        const planned = planRun(resolvePlanConfig({ model: path, ...config }), source, capacity).bytes;
        source.weights?.close();

        const before = privateBytes();
        const session = openSession(path, config, [batch], product);
        expect(session.plan()).toEqual(planned);
        expect(privateBytes() - before).toBe(planned.total);
        session.step([batch], 1, 1e-3);
        const { allocations } = memoryStatistics();
        session.step([sampleBatch(2)], 2, 1e-3);
        session.evaluate(batch);
        expect(memoryStatistics().allocations).toBe(allocations);
        expect(privateBytes() - before).toBe(planned.total);
        // Other blocks may need more than those that are active in these steps: rotation.test.ts goes through all.
        const rotates = settings.optimizer !== undefined && 'switchEvery' in settings.optimizer;
        if (rotates) expect(session.arenaPeakBytes).toBeLessThanOrEqual(planned.arena);
        else expect(session.arenaPeakBytes).toBe(planned.arena);
        session.dispose();
        expect(privateBytes()).toBe(before);
      });
    },
  );
});

it('a smaller batch replays the plan of the largest', () => {
  const large = sampleBatch();
  const session = openSession(fixturePath('llama'), { method: { type: 'full' }, checkpointing: 'block' }, [large], product);
  const small = {
    ...large,
    inputIds: large.inputIds.slice(0, 9),
    positions: large.positions.slice(0, 9),
    targets: large.targets.slice(0, 9),
  };
  const batch = { ...small, cuSeqlens: large.cuSeqlens.slice(0, 2), labelRows: large.labelRows.filter((row) => row < 9) };
  expect(session.step([batch], 1, 1e-3).tokens).toBe(9);
  expect(session.arenaPeakBytes).toBeLessThanOrEqual(session.plan().arena);
  session.dispose();
});

it('fused methods have no gradient bytes', () => {
  const batch = sampleBatch();
  for (const name of ['full lomo', 'full fused adamw', 'lora fused adamw']) {
    const session = openSession(fixturePath('smollm2'), trainings[name] ?? {}, [batch], product);
    expect(session.plan().gradients).toBe(0);
    expect(memoryStatistics().current.gradients).toBe(0);
    session.dispose();
  }
});

/** Rows of q and k are copied out of such a file: those of layers that train are needed no more once the layers have their own memory. */
describe.skipIf(!hasShared)('memory of a part of a GGUF model', () => {
  const model = sharedPath('models', 'stories260K-variants', 'stories260K-q8_0.gguf');
  it.each<[string, Settings]>([
    ['the last layers', { method: { type: 'full', trainLastLayers: 2 } }],
    ['blocks in turn', { method: { type: 'full' }, optimizer: { type: 'badam' } }],
  ])('%s take the planned bytes', (_name, settings) => {
    const batch = sampleBatch();
    const before = privateBytes();
    const session = openSession(model, settings, [batch], product);
    expect(privateBytes() - before).toBe(session.plan().total);
    session.step([batch], 1, 1e-3);
    expect(privateBytes() - before).toBe(session.plan().total);
    session.dispose();
    expect(privateBytes()).toBe(before);
  });
});
