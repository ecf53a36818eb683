import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { importScript } from './import-script.js';

interface Sample {
  seconds: number;
  others?: number;
}

const { cleanSamples, quantile, significant, spread } = await importScript<{
  quantile(sorted: number[], share: number): number;
  spread(values: number[]): Record<'median' | 'p20' | 'p80', number>;
  cleanSamples(samples: Sample[]): { kept: Sample[]; clean: number };
  significant(value: number, digits?: number): number;
}>('statistics.mjs');

describe('quantile', () => {
  it.each([
    [[7], 0.5, 7],
    [[1, 2, 3], 0.5, 2],
    [[1, 2, 3, 4], 0.5, 2.5],
    [[0, 10], 0.2, 2],
    [[1, 2, 3, 4, 5, 6], 0, 1],
    [[1, 2, 3, 4, 5, 6], 1, 6],
    [[1, 2, 3, 4, 5, 6], 0.8, 5],
  ])('of %j at %d is %d', (sorted, share, expected) => {
    expect(quantile(sorted, share)).toBeCloseTo(expected, 12);
  });

  it('rises with the share and stays between the extremes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const sorted = [...values].sort((a, b) => a - b);
        const all = [0, 0.2, 0.5, 0.8, 1].map((share) => quantile(sorted, share));
        expect(all[0]).toBe(sorted[0]);
        expect(all.at(-1)).toBe(sorted.at(-1));
        expect([...all].sort((a, b) => a - b)).toEqual(all);
      }),
    );
  });
});

describe('spread', () => {
  it('takes numbers in any order and leaves them as they are', () => {
    const values = [30, 10, 20];
    expect(spread(values)).toEqual({ median: 20, p20: 14, p80: 26 });
    expect(values).toEqual([30, 10, 20]);
  });
});

describe('cleanSamples', () => {
  it('keeps those during which others took less than 4% of the cores', () => {
    const samples = [
      { seconds: 1, others: 0.039 },
      { seconds: 2, others: 0.04 },
      { seconds: 3, others: 0 },
    ];
    expect(cleanSamples(samples)).toEqual({ kept: [samples[0], samples[2]], clean: 2 });
  });

  it('believes samples of a system that does not say', () => {
    expect(cleanSamples([{ seconds: 1 }]).clean).toBe(1);
  });

  it('keeps the quieter half and says 0 where none is clean', () => {
    const samples = [0.5, 0.1, 0.3].map((others, seconds) => ({ seconds, others }));
    expect(cleanSamples(samples)).toEqual({ kept: [samples[1], samples[2]], clean: 0 });
  });
});

describe('significant', () => {
  it.each([
    [1234.56, 4, 1235],
    [0.012345, 3, 0.0123],
    [5, 4, 5],
  ])('%d with %d digits is %d', (value, digits, expected) => {
    expect(significant(value, digits)).toBe(expected);
  });
});
