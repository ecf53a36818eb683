import { afterEach, describe, expect, it } from 'vitest';
import { threads } from '../../lib/core/device.js';
import type { HostBatch } from '../../lib/models/batch.js';
import { fixturePath, pack } from '../parity/fixture.js';
import { openSession, oracle, product } from '../parity/model-session.js';
import { type Settings, sampleBatch, sampleSequences, trainedBytes, trainings } from './sessions.js';

/** Weights after three steps, each of the given micro-batches. */
function trained(model: string, settings: Settings, steps: HostBatch[][] = [1, 2, 3].map((seed) => [sampleBatch(seed)])) {
  const session = openSession(fixturePath(model), settings, steps.flat(), product);
  const losses = steps.map((batches, i) => session.step(batches, i + 1, 1e-2).loss);
  const weights = trainedBytes(session);
  session.dispose();
  return { losses, weights };
}

const models = ['llama', 'smollm2', 'gemma2', 'qwen2'];

describe.each(models)('%s', (model) => {
  it.each([
    ['adamw', { type: 'adamw' }, { type: 'adamw', fused: true }],
    ['sgd and lomo', { type: 'sgd', weightDecay: 0.1 }, { type: 'lomo', weightDecay: 0.1 }],
    ['adamw with bf16 moments', { type: 'adamw', stateDtype: 'bf16' }, { type: 'adamw', stateDtype: 'bf16', fused: true }],
  ] as const)('fused equals accumulated bit for bit: %s', (_name, accumulated, fused) => {
    for (const method of [{ type: 'full' }, { type: 'full', dtype: 'bf16' }, { type: 'lora', rank: 4 }] as const) {
      if (method.type === 'lora' && fused.type === 'lomo') continue;
      const a = trained(model, { method, optimizer: accumulated, maxGradNorm: 0 });
      const b = trained(model, { method, optimizer: fused });
      expect(b.losses).toEqual(a.losses);
      expect(b.weights).toEqual(a.weights);
    }
  });

  it.each(Object.entries(trainings))('%s: recomputing activations changes no bit', (_name, settings) => {
    expect(trained(model, { ...settings, checkpointing: 'block' })).toEqual(trained(model, { ...settings, checkpointing: 'none' }));
  });

  it('in bf16 too', () => {
    const settings: Settings = { dtype: 'bf16', method: { type: 'full' }, optimizer: { type: 'lomo' } };
    expect(trained(model, { ...settings, checkpointing: 'block' })).toEqual(trained(model, { ...settings, checkpointing: 'none' }));
  });
});

describe('threads', () => {
  const before = threads();
  afterEach(() => {
    threads(before);
  });

  it.each(Object.entries(trainings))('%s: results do not depend on their number', (_name, settings) => {
    threads(1);
    const one = trained('smollm2', settings);
    threads(2);
    expect(trained('smollm2', settings)).toEqual(one);
    threads(3);
    expect(trained('smollm2', settings)).toEqual(one);
  });
});

describe('batches in float64', () => {
  const { ids, labels } = sampleSequences();
  const single = ids.map((row, i) => pack([row], [labels[i] as number[]]));

  function gradients(settings: Settings, batches: HostBatch[]) {
    const session = openSession(fixturePath('gemma2'), settings, batches, oracle);
    const loss = session.accumulateGradients(batches);
    const all = session.trained.map((p) => Array.from(session.gradient(p)?.read() ?? []));
    session.dispose();
    return { loss, all };
  }

  function expectClose(a: ReturnType<typeof gradients>, b: ReturnType<typeof gradients>) {
    expect(Math.abs(a.loss - b.loss)).toBeLessThan(1e-12);
    a.all.forEach((g, i) => {
      g.forEach((x, j) => {
        expect(Math.abs(x - (b.all[i]?.[j] as number))).toBeLessThan(1e-11);
      });
    });
  }

  it('packed equals one by one: no attention and no position crosses a boundary', () => {
    const method = { type: 'full' } as const;
    expectClose(gradients({ method }, [pack(ids, labels)]), gradients({ method }, single));
  });

  it('the order of packed sequences does not matter', () => {
    const method = { type: 'full' } as const;
    const reversed = pack([...ids].reverse(), [...labels].reverse());
    expectClose(gradients({ method }, [reversed]), gradients({ method }, [pack(ids, labels)]));
  });

  it('accumulated equals a big batch: the loss is normalised by the tokens of the whole step', () => {
    const method = { type: 'lora', rank: 4 } as const;
    const [a, b, c] = single as [HostBatch, HostBatch, HostBatch];
    const bc = pack(ids.slice(1), labels.slice(1));
    expectClose(gradients({ method }, [a, bc]), gradients({ method }, [a, b, c]));
  });
});
