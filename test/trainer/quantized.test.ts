// Training beside quantized weights: what is planned, what is learned, and what comes back.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolveConfig, resolvePlanConfig } from '../../lib/config/resolve.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import { openModel } from '../../lib/formats/model-source.js';
import { QuantizedWeights } from '../../lib/formats/quantized-weights.js';
import type { WeightSource } from '../../lib/formats/weights.js';
import { loadModel, plan } from '../../lib/index.js';
import { readModelConfig } from '../../lib/models/index.js';
import { measureTraining } from '../../lib/trainer/measure.js';
import { planRun } from '../../lib/trainer/plan.js';
import { Session } from '../../lib/trainer/session.js';
import { runTraining } from '../../lib/trainer/train.js';
import { fileIn, temporaryFolder } from '../formats/temporary.js';
import { fixturePath } from '../parity/fixture.js';
import { largestDifference, logitsOf, openSession, product } from '../parity/model-session.js';
import { privateBytes, type Settings, sampleBatch } from './sessions.js';

const fixture = (name: string): string => join(import.meta.dirname, '..', 'fixtures', 'quantized', name);
const lora: Settings = { method: { type: 'lora', rank: 4 } };
const linears = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128);

// Rows of one block begin with 12 bytes, those of two, which can touch two scales of scales, with 16.
const doubleScales = linears / 64 + 2 * (12 * (64 + 32 + 32 + 64 + 2 * 128) + 16 * 64);
/** Bases and the bytes of their scales. */
const bases: [string, string, Settings, { scales: number; bits: number }][] = [
  ['nf4', 'plain', { ...lora, quantize: 'nf4', doubleQuantization: false }, { scales: linears / 16, bits: 4 }],
  ['nf4, double quantization', 'plain', { ...lora, quantize: 'nf4' }, { scales: doubleScales, bits: 4 }],
  ['int8', 'plain', { ...lora, quantize: 'int8' }, { scales: linears / 16, bits: 8 }],
  ['bitsandbytes nf4', 'nf4', lora, { scales: linears / 16, bits: 4 }],
  ['bitsandbytes nf4, double quantization', 'nf4-double', lora, { scales: doubleScales, bits: 4 }],
];

describe.each(bases)('%s', (_name, model, settings, { scales, bits }) => {
  it.each(['none', 'block'] as const)('takes the planned bytes, with checkpointing %s', (checkpointing) => {
    const path = fixture(model);
    const batch = sampleBatch();
    const config = { ...settings, checkpointing };
    const source = openModel(path);
    const capacity = { tokens: batch.inputIds.length, sequences: 3, labelTokens: batch.labelRows.length };
    const planned = planRun(resolvePlanConfig({ model: path, ...config }), source, capacity).bytes;
    source.weights?.close();
    expect(planned.quantization).toBe(scales);
    expect(planned.quantizationMapped).toBe(0);

    const before = privateBytes();
    const session = openSession(path, config, [batch], product);
    expect(session.plan()).toEqual(planned);
    expect(privateBytes() - before).toBe(planned.total);
    const adapters = session.trained.reduce((sum, p) => sum + p.value.bytes, 0);
    expect(planned.weights).toBeGreaterThanOrEqual(adapters + scales + (linears * bits) / 8);
    session.step([batch], 1, 1e-3);
    const { allocations } = memoryStatistics();
    session.step([sampleBatch(2)], 2, 1e-3);
    expect(memoryStatistics().allocations).toBe(allocations);
    expect(session.arenaPeakBytes).toBe(planned.arena);
    session.dispose();
    expect(privateBytes()).toBe(before);
  });

  it('learns', () => {
    const batch = sampleBatch();
    const session = openSession(fixture(model), settings, [batch], product);
    const losses = Array.from({ length: 12 }, (_, i) => session.step([batch], i + 1, 5e-3).loss);
    expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] as number));
    session.dispose();
  });
});

// bitsandbytes looks absmax up in a table on the CPU, which takes the neighbour of the nearest code for values about halfway.
it.each([
  ['nf4', 'nf4', 0],
  ['nf4-double', 'nf4_dq', 4],
] as const)('%s of bitsandbytes has the bytes of quantization on load', (name, type, neighbours) => {
  const ours = new QuantizedWeights(openModel(fixture('plain')).weights as WeightSource, type);
  const theirs = openModel(fixture(name)).weights as WeightSource;
  const steps = theirs.names().flatMap((weight) => {
    if (theirs.info(weight).dtype !== type) return [];
    const [a, b] = [ours.tensor(weight).readBytes(), theirs.tensor(weight).readBytes()];
    return [...a].map((byte, i) => Math.abs(byte - (b[i] as number))).filter((step) => step > 0);
  });
  expect(theirs.names().filter((weight) => theirs.info(weight).dtype === type)).toHaveLength(14);
  expect(steps.length).toBeLessThanOrEqual(neighbours);
  expect(steps.every((step) => step === 1)).toBe(true);
  ours.close();
  theirs.close();
});

it('int8 is nearer to the model than nf4', () => {
  const batch = sampleBatch();
  const logits = (settings: Settings) => {
    const session = openSession(fixture('plain'), { ...lora, ...settings }, [batch], product);
    const values = logitsOf(session, batch, product);
    session.dispose();
    return values;
  };
  const plain = logits({});
  const distance = (quantize: 'nf4' | 'int8') => largestDifference(logits({ quantize }), plain);
  expect(distance('int8')).toBeGreaterThan(0);
  expect(distance('int8')).toBeLessThan(distance('nf4') / 4);
});

it('measured, as bench:memory does', () => {
  const config = resolvePlanConfig({ model: fixture('plain'), ...lora, quantize: 'nf4', maxLength: 32, batchSize: 2, maxGradNorm: 0 });
  const { plan: report, measuredBytes, arenaBytes, losses } = measureTraining(config, 2);
  expect(measuredBytes).toBe(report.bytes.total);
  expect(arenaBytes).toBe(report.bytes.arena);
  expect(losses.every(Number.isFinite)).toBe(true);
});

it.each(['nf4', 'int8'] as const)('%s blocks in scratch files: the same bits, and the planned bytes', (quantize) => {
  const dir = temporaryFolder();
  const batch = sampleBatch();
  const run = (offload?: Settings['offload']) => {
    const before = memoryStatistics();
    const session = openSession(fixture('plain'), { ...lora, quantize, ...(offload && { offload }) }, [batch], product);
    const bytes = session.plan();
    const after = memoryStatistics();
    expect(after.heapCurrent - before.heapCurrent).toBe(bytes.total);
    expect(after.current.offloaded - before.current.offloaded).toBe(bytes.offloaded);
    const losses = [1, 2].map((step) => session.step([batch], step, 1e-2).loss);
    session.dispose();
    expect(memoryStatistics().current).toEqual(before.current);
    return { bytes, losses };
  };
  const [kept, offloaded] = [run(), run({ weights: true, dir })];
  expect(offloaded.losses).toEqual(kept.losses);
  expect(offloaded.bytes).toMatchObject({ weights: 0, quantization: 0, weightsOffloaded: kept.bytes.weights });
  expect(readdirSync(dir)).toEqual([]);
  const { bytes } = plan({ model: fixture('plain'), ...lora, quantize, offload: { weights: true } });
  expect(bytes).toMatchObject({ weights: 0, weightsOffloaded: kept.bytes.weights });
});

it('a bare configuration is planned as the model is', () => {
  const settings = { ...lora, quantize: 'nf4' as const, maxLength: 32, batchSize: 2 };
  const folder = temporaryFolder();
  const config = JSON.stringify({ ...(openModel(fixture('plain'), { weights: false }).config as object) });
  const bare = plan({ model: fileIn(folder, 'config.json', config), ...settings }).bytes;
  const real = plan({ model: fixture('plain'), ...settings }).bytes;
  expect([bare.weights, bare.quantization, bare.arena]).toEqual([real.weights, real.quantization, real.arena]);
});

it('an adapter is saved and put on the quantized base again, and merging says how far it is off', async () => {
  const folder = temporaryFolder();
  const out = join(folder, 'adapter');
  const row = (i: number) => ({ input_ids: Array.from({ length: 12 }, (_, k) => (i * 7 + k * k) % 96) });
  const data = fileIn(folder, 'train.jsonl', Array.from({ length: 8 }, (_, i) => `${JSON.stringify(row(i))}\n`).join(''));
  const settings = { quantize: 'nf4' as const, method: { type: 'lora' as const, rank: 4 } };
  const config = resolveConfig({
    ...{ model: fixture('plain'), data, out, maxSteps: 6, batchSize: 4, maxLength: 16, learningRate: 0.02, trainOn: 'all' },
    ...{ cacheDir: join(folder, 'cache'), ...settings },
  });
  const losses: number[] = [];
  await runTraining(config, { emit: (e) => e.type === 'step' && losses.push(e.loss), shouldStop: () => false });
  expect(losses.at(-1)).toBeLessThan(losses[0] as number);

  await using base = await loadModel({ path: fixture('plain'), quantize: 'nf4' });
  await using adapted = await loadModel({ path: fixture('plain'), quantize: 'nf4', adapter: out });
  const loss = async (model: typeof base) => (await model.evaluate(data, { maxLength: 16, trainOn: 'all' })).loss;
  expect(await loss(adapted)).toBeLessThan(await loss(base));

  const ids = [3, 14, 15, 92, 65];
  const difference = async (path: string) => {
    await using merged = await loadModel({ path });
    return largestDifference(
      merged.logits(ids).flatMap((r) => [...r]),
      adapted.logits(ids).flatMap((r) => [...r]),
    );
  };
  const dequantized = await adapted.merge(join(folder, 'dequantized'), { dtype: 'f32' });
  expect(dequantized).toMatchObject({ dequantizedFrom: 'nf4_dq', difference: { tokens: 64 } });
  expect(await difference(dequantized.out)).toBeLessThan(1e-4);
  expect(dequantized.difference?.klDivergence).toBeLessThan(1e-8);
  const original = await adapted.merge(join(folder, 'original'), { base: 'original', dtype: 'f32' });
  expect(original.difference?.klDivergence).toBeGreaterThan(1e-5);
  expect(original.difference?.maxLogitDifference).toBeGreaterThan(10 * (dequantized.difference?.maxLogitDifference as number));
});

describe('refused', () => {
  it('--base original where there is none', async () => {
    const folder = temporaryFolder();
    const adapter = join(folder, 'adapter');
    const data = fileIn(folder, 'train.jsonl', `${JSON.stringify({ input_ids: [3, 4, 5, 6] })}\n`.repeat(4));
    const config = resolveConfig({
      ...{
        model: fixture('nf4'),
        data,
        out: adapter,
        maxSteps: 1,
        batchSize: 2,
        maxLength: 8,
        trainOn: 'all',
        cacheDir: join(folder, 'cache'),
      },
    });
    await runTraining(config, { emit: () => {}, shouldStop: () => false });
    await using model = await loadModel({ path: fixture('nf4'), adapter });
    await expect(model.merge(join(folder, 'merged'), { base: 'original' })).rejects.toThrow(/was not quantized on load/);
  });

  it('a session that is refused leaves the weights to whoever opened them', () => {
    const before = memoryStatistics().current;
    const source = openModel(fixture('plain'));
    const weights = source.weights as WeightSource;
    const ways: [Settings, RegExp][] = [
      [{ method: { type: 'lora', targets: ['nothing'] } }, /nothing/],
      [{ method: { type: 'lora', targets: ['nothing'] }, quantize: 'nf4' }, /nothing/],
      [{ method: { type: 'lora', trainLastLayers: 99 }, quantize: 'int8' }, /blocks/],
    ];
    for (const [settings, reason] of ways)
      for (const dry of [true, false]) {
        const config = resolvePlanConfig({ model: source.path, ...settings });
        const model = readModelConfig(source.config);
        const capacity = { tokens: 8, sequences: 1, labelTokens: 8 };
        expect(() => new Session({ config, model, weights, capacity, dry })).toThrow(reason);
        // A tensor that was not looked at yet, and the same session without the mistake.
        expect(weights.tensor('model.norm.weight').readBytes().length).toBeGreaterThan(0);
        const good = new Session({
          config: resolvePlanConfig({ model: source.path, ...lora, quantize: config.quantize }),
          model,
          weights,
          capacity,
          dry: true,
        });
        expect(good.plan().total).toBeGreaterThan(0);
      }
    weights.close();
    expect(memoryStatistics().current).toEqual(before);
  });

  it('full training of quantized weights', () => {
    const config = { model: fixture('plain'), method: { type: 'full' as const }, quantize: 'nf4' as const };
    expect(() => plan(config)).toThrow(/method full changes the weights.*use method lora/s);
  });
  it('a model that is quantized already', () => {
    expect(() => plan({ model: fixture('nf4'), ...lora, quantize: 'int8' })).toThrow(/quantized already.*leave quantize out/s);
  });
  it('rows that are not whole blocks, also without weights', () => {
    const model = fixturePath('smollm2');
    for (const path of [model, join(model, 'config.json')])
      expect(() => plan({ model: path, ...lora, quantize: 'nf4' })).toThrow(/rows of \d+ elements.*blocks of 64/s);
  });
});
