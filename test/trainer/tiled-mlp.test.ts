import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { memoryStatistics } from '../../lib/core/memory.js';
import type { HostBatch } from '../../lib/models/batch.js';
import { fixturePath, pack } from '../parity/fixture.js';
import { openSession, oracle, product } from '../parity/model-session.js';
import { privateBytes, type Settings, sampleSequences } from './sessions.js';

// phi3: gate and up are one matrix; gemma2: norm after the MLP; qwen2: biases.
const models = ['llama', 'phi3', 'gemma2', 'qwen2'];
const full = { type: 'full' } as const;

describe.each(models)('the MLP of %s in tiles', (model) => {
  it.each<[string, Settings]>([
    ['every weight', { method: full, checkpointing: 'block' }],
    ['lora', { method: { type: 'lora', rank: 4 } }],
    ['lora on down_proj', { method: { type: 'lora', rank: 3, targets: ['down_proj'] }, checkpointing: 'block' }],
    ['lora with dropout', { method: { type: 'lora', rank: 4, dropout: 0.3 }, checkpointing: 'block' }],
  ])('has the loss and the gradients of the whole in float64: %s', (_name, settings) => {
    const gradients = (mlpTileRows?: number) => {
      const session = openSession(fixturePath(model), { ...settings, ...(mlpTileRows && { mlpTileRows }) }, [longBatch()], oracle);
      const loss = session.accumulateGradients([longBatch()]);
      const all = session.trained.map((p) => session.gradient(p)?.read() as Float64Array);
      session.dispose();
      return { loss, all };
    };
    const whole = gradients();
    for (const rows of [32, 100]) {
      const tiled = gradients(rows);
      expect(tiled.loss).toBe(whole.loss);
      tiled.all.forEach((g, i) => {
        g.forEach((x, j) => {
          expect(Math.abs(x - (whole.all[i]?.[j] as number))).toBeLessThan(1e-13);
        });
      });
    }
  });

  it('has the loss and the input gradients of the whole, bit for bit', () => {
    // The embedding's gradient depends on the input gradient of every MLP, and not on how weight gradients are summed.
    const run = (mlpTileRows?: number) => {
      const settings: Settings = { method: full, ...(mlpTileRows && { mlpTileRows }) };
      const session = openSession(fixturePath(model), settings, [longBatch()], product);
      const { sum } = session.evaluate(longBatch(2));
      const loss = session.accumulateGradients([longBatch()]);
      const embedding = session.gradient(session.model.embedding)?.readBytes();
      session.dispose();
      return { sum, loss, embedding };
    };
    for (const rows of [32, 50, 100]) expect(run(rows)).toEqual(run());
  });

  it.each(['none', 'block'] as const)('draws the dropout masks of the whole, bit for bit, with checkpointing %s', (checkpointing) => {
    // The loss needs every mask of the forward pass, gradients of attention also those of every input gradient below.
    const run = (dropout: number, mlpTileRows?: number) => {
      const method = { type: 'lora', rank: 4, dropout } as const;
      const settings: Settings = { method, checkpointing, ...(mlpTileRows && { mlpTileRows }) };
      const session = openSession(fixturePath(model), settings, [longBatch()], product);
      // Half of a low-rank product starts at zero, and passes no gradient on.
      for (const p of session.trained) p.value.write(Float32Array.from({ length: p.value.numElements }, (_, i) => Math.sin(i) / 4));
      const loss = session.accumulateGradients([longBatch()], 3);
      const gradients = session.trained.flatMap((p) => (p.name.includes('self_attn') ? [session.gradient(p)?.readBytes()] : []));
      session.dispose();
      return { loss, gradients };
    };
    const whole = run(0.3);
    expect(whole.gradients.length).toBeGreaterThan(0);
    expect(whole.loss).not.toBe(run(0).loss);
    for (const rows of [32, 50, 100]) expect(run(0.3, rows)).toEqual(whole);
  });

  it('takes the planned bytes, also for a smaller batch', () => {
    const before = privateBytes();
    const settings: Settings = { method: full, checkpointing: 'block', mlpTileRows: 32, optimizer: { type: 'lomo' } };
    const batch = longBatch();
    const session = openSession(fixturePath(model), settings, [batch], product);
    expect(privateBytes() - before).toBe(session.plan().total);
    session.step([batch], 1, 1e-3);
    expect(session.arenaPeakBytes).toBe(session.plan().arena);
    const { allocations } = memoryStatistics();
    session.step([shortened(batch, 40)], 2, 1e-3);
    session.evaluate(shortened(batch, 5));
    expect(memoryStatistics().allocations).toBe(allocations);
    session.dispose();
  });

  it.each<[string, Settings]>([
    ['adamw', { method: full, optimizer: { type: 'adamw' }, maxGradNorm: 0 }],
    ['lion in bf16', { method: { ...full, dtype: 'bf16' }, optimizer: { type: 'lion' }, maxGradNorm: 0 }],
    ['adafactor', { method: full, optimizer: { type: 'adafactor' }, maxGradNorm: 0 }],
    ['lora', { method: { type: 'lora', rank: 4 }, optimizer: { type: 'adamw' }, maxGradNorm: 0 }],
  ])('fused equals accumulated bit for bit: %s', (_name, settings) => {
    const trained = (fused: boolean) => {
      const optimizer = { ...settings.optimizer, fused } as NonNullable<Settings['optimizer']>;
      const session = openSession(fixturePath(model), { ...settings, optimizer, mlpTileRows: 32 }, [longBatch()], product);
      const losses = [1, 2, 3].map((seed) => session.step([longBatch(seed)], seed, 1e-2).loss);
      const weights = session.trained.map((p) => p.value.readBytes());
      session.dispose();
      return { losses, weights };
    };
    expect(trained(true)).toEqual(trained(false));
  });
});

it('what is as wide as the MLP does not grow with the length', () => {
  // Bytes of a row in the arena, between 84 and 336 of them.
  const rowBytes = (mlpTileRows?: number) => {
    const arena = (repeats: number) => {
      const batch = longBatch(1, repeats);
      const settings: Settings = { method: { type: 'lora', rank: 2 }, checkpointing: 'block', ...(mlpTileRows && { mlpTileRows }) };
      const session = openSession(fixturePath('llama'), settings, [batch], product);
      session.step([batch], 1, 1e-3);
      const bytes = session.arenaPeakBytes;
      session.dispose();
      return bytes;
    };
    return (arena(12) - arena(3)) / (336 - 84);
  };
  const f32 = 4;
  const { intermediate_size: width } = JSON.parse(readFileSync(join(fixturePath('llama'), 'config.json'), 'utf8'));
  expect(rowBytes() - rowBytes(32)).toBeGreaterThan(width * f32);
});

/** 28 rows and as many again with other tokens, as often as asked for: long enough for tiles. */
function longBatch(seed = 1, repeats = 3): HostBatch {
  const all = Array.from({ length: repeats }, (_, i) => sampleSequences(10 * seed + i));
  return pack(
    all.flatMap(({ ids }) => ids),
    all.flatMap(({ labels }) => labels),
  );
}

function shortened(batch: HostBatch, rows: number): HostBatch {
  const labelRows = batch.labelRows.filter((row) => row < rows);
  return {
    inputIds: batch.inputIds.slice(0, rows),
    positions: batch.positions.slice(0, rows),
    targets: batch.targets.slice(0, rows),
    cuSeqlens: Int32Array.of(0, rows),
    labelRows,
  };
}
