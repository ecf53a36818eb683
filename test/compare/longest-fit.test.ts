import fc from 'fast-check';
import { expect, it } from 'vitest';
import { largestThatFits, remembered } from '../../lib/compare/longest-fit.js';

it('finds the largest that fits, whatever the curve', () => {
  const increments = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(increments, fc.integer({ min: 0, max: 1500 }), (steps, limit) => {
      let sum = 0;
      const bytes = steps.map((step) => (sum += step));
      const largest = bytes.filter((b) => b <= limit).length;
      expect(largestThatFits((n) => bytes[n - 1] as number, limit, bytes.length)).toBe(largest);
    }),
  );
});

it('asks a straight line no more than a few times, and each place once', () => {
  let asked = 0;
  const line = remembered((n) => {
    asked++;
    return 1000 + 7.3 * n;
  });
  expect(largestThatFits(line, 5000, 100_000)).toBe(547);
  expect(asked).toBeLessThanOrEqual(5);
  largestThatFits(line, 5000, 100_000);
  expect(asked).toBeLessThanOrEqual(5);
});
