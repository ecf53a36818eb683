import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BatchOptions, BatchPlan, collate, type MicroBatch } from '../../lib/data/batching.js';
import { countTargets, type Example, ignoredLabel } from '../../lib/data/example.js';
import { packBestFit } from '../../lib/data/packing.js';

const maxLength = 24;

/** Examples of 2 to maxLength tokens whose ids name their example, learned here and there. */
const someExamples: fc.Arbitrary<Example[]> = fc
  .array(fc.array(fc.boolean(), { minLength: 2, maxLength }), { minLength: 1, maxLength: 40 })
  .map((all) =>
    all.map((flags, row) => {
      const inputIds = Int32Array.from(flags, (_, i) => row * 100 + i);
      return { inputIds, labels: inputIds.map((id, i) => (flags[i] ? id : ignoredLabel)), row, truncated: false };
    }),
  );

const someOptions: fc.Arbitrary<BatchOptions> = fc.record({
  batchSize: fc.integer({ min: 1, max: 5 }),
  gradientAccumulationSteps: fc.integer({ min: 1, max: 3 }),
  packing: fc.boolean(),
  maxLength: fc.constant(maxLength),
  shuffle: fc.boolean(),
  seed: fc.nat(),
});

function epochOf(plan: BatchPlan, epoch: number): MicroBatch[][] {
  return Array.from({ length: plan.stepsPerEpoch(epoch) }, (_, index) => plan.step(epoch, index));
}

describe('collate', () => {
  it('shifts labels within a sequence and counts positions anew', () => {
    const examples = [
      { inputIds: Int32Array.of(5, 6, 7), labels: Int32Array.of(5, -100, 7), row: 0, truncated: false },
      { inputIds: Int32Array.of(8, 9), labels: Int32Array.of(8, 9), row: 1, truncated: false },
    ];
    expect(collate(examples, [1, 0])).toEqual({
      inputIds: Int32Array.of(8, 9, 5, 6, 7),
      targets: Int32Array.of(9, -100, -100, 7, -100),
      positions: Int32Array.of(0, 1, 0, 1, 2),
      cuSeqlens: Int32Array.of(0, 2, 5),
      labelRows: Int32Array.of(0, 3),
      exampleIndices: [1, 0],
    });
  });

  it('keeps every token and label, and no sequence sees another', () => {
    fc.assert(
      fc.property(someExamples, (examples) => {
        const indices = examples.map((_, i) => examples.length - 1 - i);
        const batch = collate(examples, indices);
        for (const [s, index] of indices.entries()) {
          const [start, end] = [batch.cuSeqlens[s] as number, batch.cuSeqlens[s + 1] as number];
          const { inputIds, labels } = examples[index] as Example;
          expect(batch.inputIds.subarray(start, end)).toEqual(inputIds);
          expect([...batch.targets.subarray(start, end)]).toEqual([...labels.subarray(1), ignoredLabel]);
          expect([...batch.positions.subarray(start, end)]).toEqual([...inputIds.keys()]);
        }
        expect([...batch.labelRows]).toEqual([...batch.targets.keys()].filter((i) => (batch.targets[i] as number) >= 0));
      }),
    );
  });
});

describe('BatchPlan', () => {
  it('gives every example exactly once an epoch, in micro-batches of the wanted size', () => {
    fc.assert(
      fc.property(someExamples, someOptions, fc.nat({ max: 5 }), (examples, options, epoch) => {
        const steps = epochOf(new BatchPlan(examples, options), epoch);
        const batches = steps.flat();
        expect(batches.flatMap((b) => b.exampleIndices).sort((a, b) => a - b)).toEqual([...examples.keys()]);
        expect(steps.slice(0, -1).every((step) => step.length === options.gradientAccumulationSteps)).toBe(true);
        for (const batch of batches) {
          expect(batch).toEqual(collate(examples, batch.exampleIndices));
          if (!options.packing) expect(batch.exampleIndices.length).toBeLessThanOrEqual(options.batchSize);
          else expect(batch.inputIds.length).toBeLessThanOrEqual(options.batchSize * maxLength);
        }
      }),
    );
  });

  it('depends on examples, options, epoch and step alone', () => {
    fc.assert(
      fc.property(someExamples, someOptions, fc.nat({ max: 5 }), fc.nat(), (examples, options, epoch, at) => {
        const one = new BatchPlan(examples, options);
        const other = new BatchPlan(examples, options);
        epochOf(one, epoch + 1);
        const index = at % other.stepsPerEpoch(epoch);
        expect(one.step(epoch, index)).toEqual(other.step(epoch, index));
      }),
    );
  });

  it('never exceeds its capacity, and without shuffling reaches it', () => {
    fc.assert(
      fc.property(someExamples, someOptions, (examples, options) => {
        const plan = new BatchPlan(examples, options);
        const reached = { tokens: 0, sequences: 0, labelTokens: 0 };
        for (let epoch = 0; epoch < 6; epoch++) {
          for (const batch of epochOf(plan, epoch).flat()) {
            reached.tokens = Math.max(reached.tokens, batch.inputIds.length);
            reached.sequences = Math.max(reached.sequences, batch.exampleIndices.length);
            reached.labelTokens = Math.max(reached.labelTokens, batch.labelRows.length);
          }
        }
        const { capacity } = plan;
        if (!options.shuffle) expect(capacity).toEqual(reached);
        expect(capacity.tokens).toBeGreaterThanOrEqual(reached.tokens);
        expect(capacity.sequences).toBeGreaterThanOrEqual(reached.sequences);
        expect(capacity.labelTokens).toBeGreaterThanOrEqual(reached.labelTokens);
      }),
    );
  });

  const examples = Array.from({ length: 50 }, (_, row) => {
    const inputIds = Int32Array.from({ length: 2 + ((row * 7) % 20) }, (_, i) => i);
    return { inputIds, labels: inputIds, row, truncated: false };
  });
  const base: BatchOptions = { batchSize: 2, gradientAccumulationSteps: 2, packing: false, maxLength, shuffle: true, seed: 1 };
  const orderOf = (options: BatchOptions, epoch: number) =>
    epochOf(new BatchPlan(examples, options), epoch)
      .flat(2)
      .flatMap((b) => b.exampleIndices);

  it('shuffles anew for every epoch and seed, or keeps the order of the data', () => {
    const first = orderOf(base, 0);
    expect(first).not.toEqual([...examples.keys()]);
    expect(orderOf(base, 1)).not.toEqual(first);
    expect(orderOf({ ...base, seed: 2 }, 0)).not.toEqual(first);
    expect(orderOf({ ...base, shuffle: false }, 3)).toEqual([...examples.keys()]);
    const packed = epochOf(new BatchPlan(examples, { ...base, shuffle: false, packing: true, batchSize: 1 }), 0).flat();
    const heads = packed.map((batch) => batch.exampleIndices[0] as number);
    expect(heads).toEqual([...heads].sort((a, b) => a - b));
    for (const { exampleIndices } of packed) expect(exampleIndices).toEqual([...exampleIndices].sort((a, b) => a - b));
  });

  it('packs into fewer tokens of padding-free rows than one example each, and does not sort training by length', () => {
    const packed = new BatchPlan(examples, { ...base, packing: true, batchSize: 1, gradientAccumulationSteps: 1 });
    const total = examples.reduce((n, e) => n + e.inputIds.length, 0);
    expect(packed.stepsPerEpoch(0)).toBeLessThanOrEqual(Math.ceil((total / maxLength) * 1.25));
    const sizes = epochOf(packed, 0)
      .flat()
      .map((b) => (b.exampleIndices.length === 1 ? 1 : 0));
    expect(sizes).not.toEqual([...sizes].sort((a, b) => b - a));
  });

  it('refuses what cannot be', () => {
    expect(() => new BatchPlan([], base)).toThrow(expect.objectContaining({ code: 'ERR_DATA_INVALID' }));
    for (const wrong of [{ batchSize: 0 }, { gradientAccumulationSteps: 1.5 }, { maxLength: Number.NaN }, { maxLength: 8 }]) {
      expect(() => new BatchPlan(examples, { ...base, ...wrong })).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }));
    }
    const plan = new BatchPlan(examples, base);
    for (const index of [-1, plan.stepsPerEpoch(0), 0.5]) expect(() => plan.step(0, index)).toThrow(/has the steps/);
  });
});

describe('packBestFit', () => {
  /** The same rule, looking at every bin. */
  function plainBestFit(lengths: number[], order: number[], capacity: number): number[] {
    const rooms: number[] = [];
    for (const item of [...order].sort((a, b) => (lengths[b] as number) - (lengths[a] as number))) {
      const length = lengths[item] as number;
      const best = rooms.filter((room) => room >= length).sort((a, b) => a - b)[0];
      if (best === undefined) rooms.push(capacity - length);
      else rooms[rooms.indexOf(best)] = best - length;
    }
    return rooms.sort((a, b) => a - b);
  }

  it('fills bins as best-fit decreasing does, whatever the order', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 17, max: 40 }), (all, capacity) => {
        const order = [...all.keys()];
        for (const items of [order, [...order].reverse()]) {
          const bins = packBestFit(all, items, capacity);
          expect(bins.flat().sort((a, b) => a - b)).toEqual(order);
          const rooms = bins.map((bin) => capacity - bin.reduce((n, i) => n + (all[i] as number), 0)).sort((a, b) => a - b);
          expect(rooms).toEqual(plainBestFit(all, items, capacity));
        }
      }),
    );
  });
});

it('counts targets: what nothing precedes has none', () => {
  expect(countTargets(Int32Array.of(1, 2, -100, 4))).toBe(2);
  expect(countTargets(Int32Array.of(1))).toBe(0);
});
