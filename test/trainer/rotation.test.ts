// Optimizers that train a part of the model at a time: BAdam and LISA.
import { describe, expect, it } from 'vitest';
import type { Parameter } from '../../lib/core/parameter.js';
import type { OptimizerConfig } from '../../lib/optimizers/index.js';
import type { Session } from '../../lib/trainer/session.js';
import { fixturePath } from '../parity/fixture.js';
import { openSession, product } from '../parity/model-session.js';
import { sampleBatch, trainedBytes } from './sessions.js';

const method = { type: 'full' } as const;

function open(model: string, optimizer: { type: OptimizerConfig['type'] } & Record<string, unknown>, more = {}): Session {
  return openSession(fixturePath(model), { method, optimizer: optimizer as OptimizerConfig, ...more }, [sampleBatch()], product);
}

const blockOf = (name: string): number | undefined => {
  const index = /layers\.(\d+)\./.exec(name)?.[1];
  return index === undefined ? undefined : Number(index);
};

/** What changes in each of `steps` steps: indices of blocks, and the names of other parameters. */
function changes(session: Session, steps: number): { blocks: number[]; others: string[] }[] {
  return Array.from({ length: steps }, (_, i) => {
    const values = () => new Map([...session.model.parameters()].map((p: Parameter) => [p.name, Buffer.from(p.value.readBytes())]));
    const before = values();
    session.step([sampleBatch(i + 1)], i + 1, 1e-3);
    const changed = [...values()].filter(([name, bytes]) => !bytes.equals(before.get(name) as Buffer)).map(([name]) => name);
    const blocks = new Set(changed.map(blockOf).filter((b) => b !== undefined));
    return { blocks: [...blocks].sort(), others: changed.filter((name) => blockOf(name) === undefined) };
  });
}

describe.each(['llama', 'smollm2', 'gemma2'])('%s', (model) => {
  it('badam trains one block at a time, in the order asked for, and nothing else', () => {
    const session = open(model, { type: 'badam', switchEvery: 2, blockOrder: 'descending' });
    const count = session.model.blocks.length;
    const seen = changes(session, 2 * count + 1);
    seen.forEach((step, i) => {
      expect(step).toEqual({ blocks: [count - 1 - (Math.floor(i / 2) % count)], others: [] });
    });
    session.dispose();
  });

  it('badam at random gives every block a turn before one has another', () => {
    const session = open(model, { type: 'badam', switchEvery: 1 });
    const count = session.model.blocks.length;
    const seen = changes(session, 2 * count).map((c) => c.blocks);
    for (const part of [seen.slice(0, count), seen.slice(count)])
      expect(part.flat().sort()).toEqual(session.model.blocks.map((b) => b.index));
    session.dispose();
  });

  it('lisa trains embedding, norm and head always, and drawn blocks in their window only', () => {
    const session = open(model, { type: 'lisa', switchEvery: 2, sampledLayers: 1 });
    const { embedding, norm, head } = session.model;
    const always = [...new Set([embedding.name, norm.weight.name, head.name])];
    const seen = changes(session, 12);
    for (const step of seen) expect(step.others).toEqual(always);
    const windows = seen.filter((_, i) => i % 2 === 0).map((c) => c.blocks);
    expect(seen.map((c) => c.blocks)).toEqual(windows.flatMap((w) => [w, w]));
    expect(windows.every((w) => w.length === 1)).toBe(true);
    expect(new Set(windows.flat()).size).toBeGreaterThan(1);
    session.dispose();
  });

  it.each([
    { type: 'badam', switchEvery: 1, blockOrder: 'ascending' },
    { type: 'badam', switchEvery: 1, blockOrder: 'ascending', includeEmbedding: true, includeHead: true },
    { type: 'lisa', switchEvery: 1, sampledLayers: 1 },
  ] as const)('no choice takes more memory than planned, and one takes it all: %j', (optimizer) => {
    for (const checkpointing of ['none', 'block'] as const) {
      for (const fused of [false, true]) {
        const session = open(model, { ...optimizer, fused }, { checkpointing });
        const { arena } = session.plan();
        for (let step = 1; step <= 12; step++) {
          session.step([sampleBatch(step)], step, 1e-3);
          expect(session.arenaPeakBytes).toBeLessThanOrEqual(arena);
        }
        expect(session.arenaPeakBytes).toBe(arena);
        session.dispose();
      }
    }
  });

  it('badam keeps states and gradients of the largest block alone', () => {
    const session = open(model, { type: 'badam' });
    const padded = (p: Parameter) => Math.ceil((4 * p.numElements) / 64) * 64;
    const largest = Math.max(...session.model.blocks.map((b) => [...b.parameters()].reduce((sum, p) => sum + padded(p), 0)));
    const { gradients, optimizer, weights } = session.plan();
    expect(optimizer).toBe(2 * largest);
    expect(gradients).toBe(largest + 64);
    expect(weights).toBe(session.trained.reduce((sum, p) => sum + padded(p), 0));
    session.dispose();
  });

  it.each([
    { type: 'badam', switchEvery: 2 },
    { type: 'lisa', switchEvery: 2, sampledLayers: 1 },
  ] as const)('fused equals accumulated bit for bit: %j', (optimizer) => {
    for (const dtype of ['f32', 'bf16'] as const) {
      const run = (fused: boolean) => {
        const session = open(model, { ...optimizer, fused }, { method: { ...method, dtype }, maxGradNorm: 0 });
        const losses = [1, 2, 3, 4, 5].map((step) => session.step([sampleBatch(step)], step, 1e-2).loss);
        const weights = trainedBytes(session);
        session.dispose();
        return { losses, weights };
      };
      expect(run(true)).toEqual(run(false));
    }
  });

  it('lisa with all blocks in one window is adamw', () => {
    const count = open(model, { type: 'lisa', sampledLayers: 1 });
    const sampledLayers = count.model.blocks.length;
    count.dispose();
    const run = (optimizer: Parameters<typeof open>[1]) => {
      const session = open(model, optimizer);
      const losses = [1, 2, 3].map((step) => session.step([sampleBatch(step)], step, 1e-2).loss);
      const weights = trainedBytes(session);
      session.dispose();
      return { losses, weights };
    };
    expect(run({ type: 'lisa', sampledLayers })).toEqual(run({ type: 'adamw' }));
  });

  it('the first turn of badam takes the step that adamw takes on that block', () => {
    const step = (optimizer: Parameters<typeof open>[1], trainLastLayers?: number) => {
      const session = open(model, optimizer, { method: { ...method, trainLastLayers }, maxGradNorm: 0 });
      session.step([sampleBatch()], 1, 1e-2);
      const last = session.model.blocks.at(-1);
      const values = [...(last?.parameters() ?? [])].map((p) => Array.from(p.value.read()));
      session.dispose();
      return values;
    };
    expect(step({ type: 'badam', blockOrder: 'descending' })).toEqual(step({ type: 'adamw' }, 1));
  });
});

it('lisa refuses more layers than the model has', () => {
  expect(() => open('llama', { type: 'lisa', sampledLayers: 99 })).toThrow(/sampledLayers must be at most/);
});
