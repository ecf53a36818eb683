import { describe, expect, it } from 'vitest';
import { stepLine } from '../../lib/cli/event-text.js';
import { formatBytes, formatDuration, formatPercent, formatRate, shellQuote } from '../../lib/cli/format.js';
import { formatTable, reportRows, visibleLength } from '../../lib/cli/table.js';
import { stepEvent } from './fake-context.js';

describe('numbers for people', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [1536, '1.50 KiB'],
    [10 * 2 ** 20, '10.0 MiB'],
    [1023.7 * 2 ** 20, '1.00 GiB'],
    [123.4 * 2 ** 30, '123 GiB'],
    [2 ** 50, '1024 TiB'],
  ])('%d bytes', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([
    [0, '0s'],
    [59_499, '59s'],
    [65_000, '1m 05s'],
    [3_600_000, '1h 00m'],
    [90_000_000, '1d 1h'],
    [Number.POSITIVE_INFINITY, '-'],
    [Number.NaN, '-'],
  ])('%d ms', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('rates and shares', () => {
    expect([2e-4, 0.03, 1, 0].map(formatRate)).toEqual(['2.0e-4', '0.03', '1', '0']);
    expect([0.0052, 0.123, 0.9999, 1, 0].map(formatPercent)).toEqual(['0.52 %', '12.3 %', '100 %', '100 %', '0 %']);
  });

  it('a step', () => {
    expect(stepLine(stepEvent(3, 120))).toBe(
      'step   3/120  loss 0.6667  lr 2.0e-4  norm 0.500  1,235 tok/s  ETA 1m 05s  mem 1.00 MiB / 3.00 MiB',
    );
    const { gradNorm: _, ...fused } = stepEvent(3, 120);
    expect(stepLine(fused)).not.toContain('norm');
  });
});

describe('shellQuote', () => {
  it.each([
    ['plain-1.0', 'plain-1.0'],
    ['two words', "'two words'"],
    ["it's", "'it'\\''s'"],
    ['$HOME', "'$HOME'"],
    ['', "''"],
  ])('%s', (word, quoted) => {
    expect(shellQuote(word)).toBe(quoted);
  });
});

describe('formatTable', () => {
  it('pads to the widest cell, right or left, and ignores colours', () => {
    const table = formatTable(
      [{ title: 'name' }, { title: 'n', align: 'right' }],
      [
        ['a', '1'],
        ['\u001b[31mlonger\u001b[39m', '100'],
      ],
    );
    expect(table).toBe('name      n\na         1\n\u001b[31mlonger\u001b[39m  100\n');
  });

  it('shows any report', () => {
    const report = {
      modelType: 'llama',
      trainable: true,
      reason: undefined,
      layers: 30,
      storage: [{ tensors: 210, type: 'q4_1', bytes: 2048 }],
      parameters: { total: 134_515_008 },
      weightBytes: 2 ** 20,
      names: ['a', 'b'],
      none: [],
    };
    expect(reportRows(report, formatBytes)).toEqual([
      ['model type', 'llama'],
      ['trainable', 'yes'],
      ['layers', '30'],
      ['storage', ''],
      ['  q4_1', 'tensors 210, bytes 2.00 KiB'],
      ['parameters', ''],
      ['  total', '134,515,008'],
      ['weight bytes', '1.00 MiB'],
      ['names', 'a, b'],
      ['none', '-'],
    ]);
  });

  it('counts characters, not code units', () => {
    expect(visibleLength('\u{1F600}x')).toBe(2);
  });
});
