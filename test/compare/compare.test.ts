import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agrees, comparisonColumns, footnotes } from '../../lib/compare/columns.js';
import { comparisonFormats, formatComparison, markdownTable } from '../../lib/compare/formats.js';
import { rungs } from '../../lib/compare/ladder.js';
import { type ComparisonRow, categories } from '../../lib/compare/row.js';
import { trainingVariants } from '../../lib/compare/variants.js';
import { plan, planCompare } from '../../lib/index.js';
import { optimizers } from '../../lib/optimizers/index.js';
import { importScript } from '../bench/import-script.js';
import { fixturePath } from '../parity/fixture.js';

const config = { model: fixturePath('llama'), batchSize: 2, maxLength: 32 };
const rows = planCompare(config);
const named = (name: string, checkpointing = 'none') =>
  rows.find((row) => row.name === name && row.checkpointing === checkpointing) as ComparisonRow;

describe('the rows', () => {
  it('are of every method and optimizer of the registries, each once', () => {
    const names = trainingVariants().map((v) => v.name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, learningRates } of optimizers)
      for (const method of Object.keys(learningRates)) expect(names, `${method}, ${name}`).toContain(`${method}, ${name}`);
    expect(names).toEqual(expect.arrayContaining(['full, adamw fused 8bit', 'full, sgd momentum', 'lora over nf4, adamw']));
    // Settings that change nothing are no rows: SGD without momentum has no state to store in 8 bits.
    expect(names.filter((name) => name.startsWith('full, sgd'))).toEqual(['full, sgd', 'full, sgd fused', 'full, sgd momentum']);
  });

  it('are plans to the byte of settings that train this way, or say why there is none', () => {
    for (const row of rows) {
      if (!row.plan) continue;
      expect(plan(row.config), row.name).toEqual(row.plan);
      expect(row.plan.checkpointing).toBe(row.checkpointing);
    }
    // Rows of the small model are no whole blocks of 64.
    expect(named('lora over nf4, adamw')).toMatchObject({
      plan: undefined,
      bytes: undefined,
      note: expect.stringContaining('blocks of 64'),
    });
    expect(named('lora over int8, adamw').note).toBeDefined();
    expect(rows.filter((row) => !row.plan).map((row) => row.name)).not.toContain('lora, adamw');
  });

  it('have categories that add up', () => {
    for (const { bytes, plan: report, computedBytes, name } of rows) {
      if (!bytes || !report) continue;
      expect(
        categories.reduce((sum, category) => sum + bytes[category], 0),
        name,
      ).toBe(bytes.total);
      expect(bytes.total).toBe(report.bytes.total + computedBytes);
    }
  });

  it('tell inputs of blocks kept for recomputation from activations', () => {
    const [none, block] = [named('full, lomo').bytes, named('full, lomo', 'block').bytes];
    expect(none?.checkpoints).toBe(0);
    // Every block's input of 64 tokens and 32 channels in f32.
    const { layers, width } = { layers: 2, width: 32 };
    expect((block?.checkpoints ?? 0) % (64 * width * 4)).toBe(0);
    expect(block?.checkpoints).toBeGreaterThanOrEqual(layers * 64 * width * 4);
    expect(block?.activations).toBeLessThan(none?.activations ?? 0);
  });

  it('take what belongs to a method from the settings, and nothing that belongs to another optimizer', () => {
    const compared = planCompare({ ...config, method: { type: 'lora', rank: 3 }, learningRate: 1, maxGradNorm: 1 });
    const lora = compared.find((row) => row.name === 'lora, adamw') as ComparisonRow;
    expect(lora.config.method).toEqual({ type: 'lora', rank: 3 });
    for (const row of compared) expect([row.config.learningRate, row.config.maxGradNorm], row.name).toEqual([undefined, undefined]);
  });

  it('refuses settings that no row can mend', () => {
    expect(() => planCompare({ ...config, batchSize: 0 })).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }));
    expect(() => planCompare({ ...config, model: './nowhere' })).toThrow(expect.objectContaining({ code: 'ERR_FILE' }));
  });
});

describe('the ladder', () => {
  const ladder = rows.filter((row) => row.part === 'ladder');

  it('has every rung, each on top of those before', () => {
    expect(ladder.map((row) => row.name)).toEqual(rungs.map((rung) => rung.name));
    expect(ladder[4]?.config).toMatchObject({ packing: true, checkpointing: 'block', optimizer: { type: 'adamw', fused: true } });
  });

  it('adds whole logits and their gradient, computed and labelled so', () => {
    const [baseline, packing, chunked] = ladder as [ComparisonRow, ComparisonRow, ComparisonRow];
    expect(baseline.computedBytes).toBe(64 * 96 * 4 * 2);
    expect((packing.bytes?.total ?? 0) - (chunked.bytes?.total ?? 0)).toBe(packing.computedBytes);
    expect(footnotes(ladder)[0]).toMatch(/^\* Computed, not planned.*baseline/);
  });

  it('goes down', () => {
    const totals = ladder.slice(1).flatMap((row) => row.bytes?.total ?? []);
    expect(totals).toEqual([...totals].sort((a, b) => b - a));
  });
});

describe('the formats', () => {
  const measured = { total: named('full, lomo').bytes?.total ?? 0, offloaded: 0, resident: 5 << 20, tokensPerSecond: 123.4 };
  const loss = { before: 2.5, after: 1.25, steps: 7 };
  const shown: ComparisonRow[] = [
    { ...named('full, lomo'), measured: { ...measured, loss }, peer: { resident: 9 << 20, tokensPerSecond: 99 } },
    { ...named('full, adamw'), name: 'a "b", <c> | *d* & e', measured: { ...measured, total: 1 << 20 } },
    named('lora over nf4, adamw'),
    ...rows.filter((row) => row.part === 'ladder'),
  ];
  const print = (format: (typeof comparisonFormats)[number]) => formatComparison(shown, format, 'What & where');

  it('all end with one line break', () => {
    for (const format of comparisonFormats) expect(print(format), format).toMatch(/[^\n]\n$/);
  });

  it('table: parts, what was measured, why a row is missing', () => {
    const text = print('table');
    for (const piece of [
      'Methods\n',
      'Ladder',
      '= planned',
      '1.00 MiB',
      'loss before  after 7 steps',
      '99',
      'blocks of 64',
      'What & where',
    ])
      expect(text).toContain(piece);
    expect(agrees(shown[0] as ComparisonRow)).toBe(true);
    expect(agrees(shown[1] as ComparisonRow)).toBe(false);
  });

  it('columns that no row has a value for are left out', () => {
    const keys = comparisonColumns([named('full, lomo')]).map((c) => c.key);
    expect(keys).not.toContain('measuredBytes');
    expect(keys).toContain('optimizerBytes');
  });

  it('csv: bytes as numbers, one line a row, quoted where needed', () => {
    const [titles = '', first = '', second = ''] = print('csv').split('\n');
    const cells = first.replace('"full, lomo"', 'full').split(',');
    const at = (key: string) => cells[titles.split(',').indexOf(key)];
    expect(at('plannedBytes')).toBe(String(named('full, lomo').bytes?.total));
    expect(at('lossAfter')).toBe('1.25');
    expect(second).toContain('"a ""b"", <c> | *d* & e"');
    expect(print('csv').trimEnd().split('\n')).toHaveLength(shown.length + 1);
  });

  it('json: the same, with settings that train', () => {
    const { caption, rows: entries } = JSON.parse(print('json')) as { caption: string; rows: Record<string, unknown>[] };
    expect(caption).toBe('What & where');
    expect(entries[0]).toMatchObject({ method: 'full, lomo', optimizerBytes: 0, settings: { optimizer: { type: 'lomo' } } });
    expect(entries[2]).not.toHaveProperty('plannedBytes');
  });

  it('markdown: rows of equal width, cells that cannot break it', () => {
    const table = markdownTable(
      [
        { title: 'a', align: 'left' },
        { title: 'b', align: 'right' },
      ],
      [['x|y*', '1']],
    );
    expect(table).toBe('| a      |   b |\n| ------ | --: |\n| x\\|y\\* |   1 |');
    expect(print('markdown')).toContain('**Methods**\n\n| method');
    // Notes are paragraphs, not items of lists.
    expect(print('markdown')).toContain('\n\\* Computed');
    expect(print('markdown')).toContain('\n\\+ quantized base, lora: ');
  });

  it('svg: well-formed, alone, readable on light and dark', () => {
    const svg = print('svg');
    wellFormed(svg);
    expect(svg).toContain('a &quot;b&quot;, &lt;c&gt; | *d* &amp; e');
    expect(svg).toContain('prefers-color-scheme:dark');
    expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/href|url\(|http|<script|<image/);
    // Bars end where the scale says: the longest at the same place in every picture.
    const widths = [...svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)" height="14"/g)].map((m) => Number(m[1]) + Number(m[2]));
    expect(Math.max(...widths)).toBeCloseTo(880 - 12 - 90, 0);
  });
});

describe('the rows of PyTorch', async () => {
  const { peerMethod } = await importScript<{ peerMethod(row: ComparisonRow): string | undefined }>('memory-peers.mjs');
  it('are those that it has, with the logits that it has', () => {
    expect(peerMethod(named('lora, adamw'))).toBe('lora');
    expect(peerMethod(named('full, adamw', 'block'))).toBe('adamw');
    expect(peerMethod(named('full, lomo'))).toBe('lomo');
    for (const name of ['full, adamw fused', 'lora, sgd', 'lora over nf4, adamw', 'full last layer, adamw', '+ chunked loss'])
      expect(peerMethod(named(name)), name).toBeUndefined();
    expect(peerMethod(named('baseline: full, adamw, whole logits'))).toBe('adamw');
  });

  it('come from a script that exists', () => {
    expect(existsSync(join(import.meta.dirname, '..', '..', 'bench', 'peers', 'torch_train.py'))).toBe(true);
  });
});

/** Tags that nest and close, attributes once and quoted, no bare & or <: what an XML reader insists on. */
function wellFormed(xml: string): void {
  const open: string[] = [];
  const rest = xml.replace(
    /<(\/?)([a-z]+)((?: [\w:-]+="[^"<&]*")*)(\/?)>/g,
    (_, close: string, name: string, attributes: string, empty: string) => {
      const keys = [...attributes.matchAll(/ ([\w:-]+)=/g)].map((m) => m[1]);
      expect(new Set(keys).size, attributes).toBe(keys.length);
      if (close) expect(open.pop()).toBe(name);
      else if (!empty) open.push(name);
      return '';
    },
  );
  expect(open).toEqual([]);
  expect(rest).not.toMatch(/[<>]/);
  expect(rest.replace(/&(amp|lt|gt|quot|#39);/g, '')).not.toContain('&');
}
