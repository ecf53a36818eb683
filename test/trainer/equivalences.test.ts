import { afterEach, describe, expect, it } from 'vitest';
import { threads } from '../../lib/core/device.js';
import type { HostBatch } from '../../lib/models/batch.js';
import { fixturePath, pack } from '../parity/fixture.js';
import { type Arithmetic, openSession, oracle, product } from '../parity/model-session.js';
import { type Settings, sampleBatch, sampleSequences, trainedBytes, trainings } from './sessions.js';

/** Weights after three steps, each of the given micro-batches. */
function trained(
  model: string,
  settings: Settings,
  steps: HostBatch[][] = [1, 2, 3].map((seed) => [sampleBatch(seed)]),
  arithmetic: Arithmetic = product,
) {
  const session = openSession(fixturePath(model), settings, steps.flat(), arithmetic);
  const results = steps.map((batches, i) => session.step(batches, i + 1, 1e-2));
  const weights = trainedBytes(session);
  session.dispose();
  return { losses: results.map((r) => r.loss), norms: results.map((r) => r.gradNorm), weights };
}

/** Without what only kept gradients report. */
const outcome = ({ losses, weights }: ReturnType<typeof trained>) => ({ losses, weights });

const models = ['llama', 'smollm2', 'gemma2', 'qwen2'];

describe.each(models)('%s', (model) => {
  it.each([
    ['adamw', { type: 'adamw' }],
    ['adamw with bf16 moments', { type: 'adamw', stateDtype: 'bf16' }],
    ['sgd', { type: 'sgd', weightDecay: 0.1 }],
    ['nesterov', { type: 'sgd', momentum: 0.9, nesterov: true }],
    ['lion', { type: 'lion', weightDecay: 0.1 }],
    ['signsgd', { type: 'signsgd' }],
    ['signum', { type: 'signsgd', momentum: 0.9 }],
    // On one whole gradient after the other, with the same sums.
    ['adafactor', { type: 'adafactor' }],
  ] as const)('fused equals accumulated bit for bit: %s', (_name, optimizer) => {
    for (const method of [{ type: 'full' }, { type: 'full', dtype: 'bf16' }, { type: 'lora', rank: 4 }] as const) {
      const a = trained(model, { method, optimizer, maxGradNorm: 0 });
      const b = trained(model, { method, optimizer: { ...optimizer, fused: true } });
      expect(b.losses).toEqual(a.losses);
      expect(b.weights).toEqual(a.weights);
    }
  });

  it.each([
    ['muon', { type: 'muon', weightDecay: 0.1 }],
    ['galore', { type: 'galore', projectionRank: 3, projectionGap: 2 }],
    ['q-galore', { type: 'galore', projectionRank: 5, projectionGap: 1, projectionDtype: 'int4', adaptiveGap: true }],
    ['apollo', { type: 'apollo', projectionRank: 3, projectionGap: 2 }],
    ['apollo-mini', { type: 'apollo-mini' }],
  ] as const)('fused equals accumulated bit for bit on whole gradients: %s', (_name, optimizer) => {
    for (const method of [{ type: 'full' }, { type: 'full', dtype: 'bf16' }] as const) {
      const kept = trained(model, { method, optimizer, maxGradNorm: 0 });
      expect(outcome(trained(model, { method, optimizer: { ...optimizer, fused: true } }))).toEqual(outcome(kept));
    }
  });

  it('lomo equals sgd bit for bit', () => {
    const method = { type: 'full' } as const;
    const sgd = trained(model, { method, optimizer: { type: 'sgd', weightDecay: 0.1 }, maxGradNorm: 0 });
    expect(outcome(trained(model, { method, optimizer: { type: 'lomo', weightDecay: 0.1 } }))).toEqual(outcome(sgd));
  });

  it('adalomo equals adafactor bit for bit', () => {
    const method = { type: 'full' } as const;
    const adafactor = trained(model, { method, optimizer: { type: 'adafactor' }, maxGradNorm: 0 });
    expect(outcome(trained(model, { method, optimizer: { type: 'adalomo' } }))).toEqual(outcome(adafactor));
  });

  it('a fused update clipped exactly equals kept gradients clipped by their norm', () => {
    const common = { method: { type: 'full' }, maxGradNorm: 0.5 } as const;
    const kept = trained(model, { ...common, optimizer: { type: 'sgd' } });
    expect(kept.norms.every((norm) => (norm ?? 0) > 0.5)).toBe(true);
    const exact = trained(model, { ...common, optimizer: { type: 'lomo', exactClip: true } });
    expect(exact.losses).toEqual(kept.losses);
    expect(exact.weights).toEqual(kept.weights);
    exact.norms.forEach((norm, i) => expect(norm).toBeCloseTo(kept.norms[i] as number, 10));
  });

  it('a fused update clipped by the step before takes its norm', () => {
    const method = { type: 'full' } as const;
    const steps = [1, 2].map((seed) => [sampleBatch(seed)]);
    const plain = trained(model, { method, optimizer: { type: 'lomo' } }, steps.slice(0, 1));
    const first = trained(model, { method, optimizer: { type: 'lomo', previousNormClip: true }, maxGradNorm: 0.5 }, steps.slice(0, 1));
    expect(first.weights).toEqual(plain.weights);
    const norm = first.norms[0] as number;
    const both = trained(model, { method, optimizer: { type: 'lomo', previousNormClip: true }, maxGradNorm: 0.5 }, steps);
    // The second step by hand: half the norm of the first is the factor on the learning rate.
    const session = openSession(fixturePath(model), { method, optimizer: { type: 'lomo' } }, steps.flat(), product);
    session.step(steps[0] as HostBatch[], 1, 1e-2);
    session.step(steps[1] as HostBatch[], 2, (1e-2 * 0.5) / norm);
    for (const p of session.trained) {
      const got = both.weights.get(p.name) as Uint8Array;
      const wanted = p.value.read();
      new Float32Array(got.buffer).forEach((x, i) => expect(x).toBeCloseTo(wanted[i] as number, 6));
    }
    session.dispose();
  });

  it.each(Object.entries(trainings))('%s: recomputing activations changes no bit', (_name, settings) => {
    const kept = trained(model, { ...settings, checkpointing: 'none' });
    // Only gemma2 has blocks enough, four: 3 leaves a group of one.
    for (const checkpointing of model === 'gemma2' ? (['block', 3] as const) : (['block'] as const))
      expect(trained(model, { ...settings, checkpointing })).toEqual(kept);
  });

  it.each<[string, Settings]>([
    ['lora with dropout', { method: { type: 'lora', rank: 4, dropout: 0.2 } }],
    ['adamw', { method: { type: 'full' } }],
    ['lomo', { method: { type: 'full' }, optimizer: { type: 'lomo' } }],
  ])('in bf16 too, weights and activations: %s', (_name, settings) => {
    const bf16 = { ...settings, dtype: 'bf16' } as const;
    const run = (checkpointing: 'none' | 'block' | 2) =>
      trained(model, { ...bf16, checkpointing }, undefined, { ...product, dtype: 'bf16' });
    const kept = run('none');
    for (const checkpointing of ['block', 2] as const) expect(run(checkpointing)).toEqual(kept);
    // Not what f32 activations over the same weights give.
    expect(kept.losses).not.toEqual(trained(model, bf16).losses);
  });
});

// phi3 has weights that are large enough for states in codes.
it.each([
  ['adamw', '8bit'],
  ['lion', '8bit'],
  ['sgd', '8bit'],
  ['adamw', '4bit'],
  ['lion', '4bit'],
] as const)('fused equals accumulated bit for bit: %s with states in %s', (type, stateDtype) => {
  for (const method of [{ type: 'full' }, { type: 'full', dtype: 'bf16' }] as const) {
    const optimizer = { type, stateDtype, ...(type === 'sgd' && { momentum: 0.9 }) } as const;
    const kept = trained('phi3', { method, optimizer, maxGradNorm: 0 });
    expect(outcome(trained('phi3', { method, optimizer: { ...optimizer, fused: true } }))).toEqual(outcome(kept));
    const inFull = trained('phi3', { method, optimizer: { ...optimizer, stateDtype: 'f32' }, maxGradNorm: 0 });
    expect(kept.weights).not.toEqual(inFull.weights);
  }
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
