import { describe, expect, it } from 'vitest';
import { parseSize } from '../../lib/config/size.js';

describe('parseSize', () => {
  it.each([
    ['8GiB', 8 * 2 ** 30],
    ['512MiB', 512 * 2 ** 20],
    ['512 MiB', 512 * 2 ** 20],
    ['1.5KiB', 1536],
    ['1.5GB', 1.5e9],
    ['2TiB', 2 * 2 ** 40],
    ['100B', 100],
    ['4096', 4096],
    [4096, 4096],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '8G', '8gib', '-1MiB', 'MiB', '1e3', '0', '0.5', '99999999TiB', 0, -5, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
    '%s is no size',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );
});
