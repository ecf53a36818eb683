import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, suggest } from '../../lib/config/suggest.js';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['rank', 'rank', 0],
    ['rnak', 'rank', 1],
    ['rank', 'ranks', 1],
    ['kitten', 'sitting', 3],
    ['', 'abc', 3],
  ])('%s to %s is %d', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  it('is symmetric, and at most the longer length', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });
});

describe('suggest', () => {
  const known = ['--rank', '--batch-size', '--beta1', '--checkpointing', '--learning-rate', '--lr-schedule'];

  it.each([
    ['--rnak', '--rank'],
    ['--lora-rank', '--rank'],
    ['--batchSize', '--batch-size'],
    ['--batch_size', '--batch-size'],
    ['--batch-sise', '--batch-size'],
    ['--checkpoint', '--checkpointing'],
    ['--learning-rte', '--learning-rate'],
  ])('%s: %s', (unknown, expected) => {
    expect(suggest(unknown, known)).toBe(expected);
  });

  it.each(['--x', '--tokenizer', '--zzzzzz', ''])('nothing for %s', (unknown) => {
    expect(suggest(unknown, known)).toBeUndefined();
  });

  it('stays quick on absurd input', () => {
    const milliseconds = (length: number) => {
      const start = performance.now();
      suggest('x'.repeat(length), known);
      return performance.now() - start;
    };
    // Compared letter by letter with every flag this takes minutes.
    expect(Math.min(milliseconds(1e6), milliseconds(1e6), milliseconds(1e6))).toBeLessThan(2000);
  });
});
