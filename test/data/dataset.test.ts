import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { type DataOptions, loadDataset, splitDataset } from '../../lib/data/dataset.js';
import { detectFormat } from '../../lib/data/detect.js';
import type { Example } from '../../lib/data/example.js';
import { openRows } from '../../lib/data/rows.js';
import { hasShared, sharedPath } from '../shared.js';
import { chatml, tinyTokenizer } from './tiny-tokenizer.js';

const folder = mkdtempSync(join(tmpdir(), 'data-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tokenizer = tinyTokenizer({ template: chatml });
const options: DataOptions = { maxLength: 64, cacheDir: false };
const pair = '{"prompt":"hello","completion":" world"}';

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const read = (source: Parameters<typeof loadDataset>[0], more: Partial<DataOptions> = {}) =>
  loadDataset(source, tokenizer, { ...options, ...more });

describe('containers', () => {
  it('reads the same rows from lines, arrays, gzip, URLs, iterables', async () => {
    const rows = [JSON.parse(pair), { prompt: 'a', completion: 'b' }];
    const lines = rows.map((row) => JSON.stringify(row)).join('\n');
    const expected = await read(rows);
    const sources = [
      file('a.jsonl', lines),
      file('bom.jsonl', `\ufeff\r\n${lines.replace('\n', '\r\n\r\n \r\n')}\r\n`),
      file('a.json', JSON.stringify(rows, null, 2)),
      file('lines.json', `${lines}\n`),
      file('a.jsonl.gz', gzipSync(lines)),
      file('a.json.gz', gzipSync(JSON.stringify(rows))),
      pathToFileURL(file('url.jsonl', lines)),
      (async function* () {
        yield* rows;
      })(),
    ];
    for (const source of sources) expect((await read(source)).hash).toBe(expected.hash);
  });

  it('cuts a text file into sequences of maxLength, with BOS where the tokenizer adds it', async () => {
    const path = file('a.txt', 'hello world\r\n'.repeat(30));
    const plain = await read(path, { maxLength: 16 });
    expect(plain.report).toMatchObject({ format: 'text', truncated: 0, dropped: [] });
    const ids = tokenizer.encode('hello world\n'.repeat(30));
    expect(plain.examples.flatMap((example) => [...example.inputIds])).toEqual([...ids, tokenizer.eosTokenId]);
    const adding = tinyTokenizer({ addBos: true });
    const { examples } = await loadDataset(path, adding, { ...options, maxLength: 16 });
    expect(examples.every((example) => example.inputIds[0] === adding.bosTokenId)).toBe(true);
    expect(examples.flatMap((example) => [...example.inputIds.subarray(1)])).toEqual([...ids, tokenizer.eosTokenId]);
  });

  const bad: [string, () => Parameters<typeof loadDataset>[0], string, RegExp][] = [
    ['a missing file', () => join(folder, 'none.jsonl'), 'ERR_FILE', /no such file/],
    ['a folder', () => folder, 'ERR_FILE', /folder/],
    ['a remote URL', () => new URL('https://example.com/a.jsonl'), 'ERR_FILE', /Download it/],
    ['an empty file', () => file('empty.jsonl', ''), 'ERR_DATA_INVALID', /empty/],
    ['blank lines only', () => file('blank.jsonl', '\n \r\n'), 'ERR_DATA_INVALID', /empty/],
    ['an empty array', () => file('none.json', '[]'), 'ERR_DATA_INVALID', /no rows/],
    ['an empty iterable', () => [], 'ERR_DATA_INVALID', /no rows/],
    ['a blank text', () => file('blank.txt', ' \n'), 'ERR_DATA_INVALID', /empty/],
    ['a broken line', () => file('broken.jsonl', `${pair}\n\n{"prompt": }\n`), 'ERR_DATA_INVALID', /^broken\.jsonl:3: not a JSON value/],
    ['a broken array', () => file('broken.json', '[{"a":1}, '), 'ERR_DATA_INVALID', /^broken\.json: not valid JSON/],
    ['a broken gzip', () => file('cut.jsonl.gz', gzipSync(pair.repeat(99)).subarray(0, 40)), 'ERR_DATA_INVALID', /gzip/],
    [
      'bytes that are no UTF-8',
      () => file('latin.jsonl', Buffer.from(`${pair}\n{"text":"\xe9"}`, 'latin1')),
      'ERR_DATA_INVALID',
      /^latin\.jsonl:2: not valid UTF-8/,
    ],
    ['a table', () => file('a.csv', 'a,b'), 'ERR_DATA_INVALID', /\.csv/],
    ['an unknown kind of file', () => file('a.bin', '\u0001x'), 'ERR_DATA_INVALID', /wanted JSON lines/],
    ['a number', () => file('number.jsonl', '7'), 'ERR_DATA_INVALID', /^number\.jsonl:1: a row must be/],
    ['unknown keys', () => file('keys.jsonl', '{"foo":1}'), 'ERR_DATA_INVALID', /^keys\.jsonl:1: .*foo.*messages \(messages\)/],
    [
      'mixed rows',
      () => file('mixed.jsonl', `${pair}\n${pair}\n{"text":"a"}`),
      'ERR_DATA_INVALID',
      /^mixed\.jsonl:3: the first rows are prompt-completion/,
    ],
    ['a wrong element', () => file('mixed.json', '["a", 5]'), 'ERR_DATA_INVALID', /^mixed\.json\[1\]: /],
    ['preference rows', () => [{ prompt: 'a', chosen: 'b', rejected: 'c' }], 'ERR_DATA_INVALID', /preference/],
    ['labelled answers', () => [{ messages: [], label: true }], 'ERR_DATA_INVALID', /preference/],
  ];
  it.each(bad)('%s', async (_, source, code, message) => {
    await expect(read(source())).rejects.toMatchObject({ name: 'FinetuneError', code, message: expect.stringMatching(message) });
  });
});

describe('rows', () => {
  const bad: [string, unknown, RegExp][] = [
    ['no text', { text: 7 }, /"text" must be text; came 7/],
    ['no messages', { messages: [] }, /"messages" must be a list of at least one/],
    ['an unknown role', { messages: [{ role: 'asistant', content: 'a' }] }, /messages\[0\]: unknown role "asistant"/],
    ['no content', { messages: [{ role: 'user' }] }, /no "content"/],
    ['an image', { messages: [{ role: 'user', content: [{ type: 'image', text: 'x' }] }] }, /cannot be learned/],
    ['half a weight', { messages: [{ role: 'user', content: 'a', weight: 0.5 }] }, /must be 0 or 1/],
    ['a prompt of both kinds', { prompt: 'a', completion: [{ role: 'assistant', content: 'a' }] }, /both/],
    ['a turn without a speaker', { conversations: [{ value: 'a' }] }, /wanted \{ from, value \}/],
    ['a call that is no JSON', { conversations: [{ from: 'function_call', value: 'x' }] }, /must hold JSON/],
    ['tools that are no JSON', { conversations: [{ from: 'human', value: 'x' }], tools: '{' }, /"tools" must hold JSON/],
    ['a broken history', { instruction: 'a', output: 'b', history: [['x']] }, /history\[0\] must be/],
    ['no tokens', { input_ids: [] }, /empty/],
    ['a token that is none', { input_ids: [1, 2.5] }, /input_ids\[1\] must be an integer/],
    ['a token of another model', { input_ids: [1, 276] }, /token id 276 is outside the vocabulary \(0 to 275\)/],
    ['too few labels', { input_ids: [1, 2], labels: [1] }, /"labels" has 1 values and "input_ids" 2/],
    ['shifted labels', { input_ids: [1, 2, 3], labels: [2, 3, -100] }, /look shifted by one/],
  ];
  it.each(bad)('%s', async (_, row, message) => {
    await expect(read([row])).rejects.toMatchObject({ code: 'ERR_DATA_INVALID', message: expect.stringMatching(message) });
    await expect(read([row])).rejects.toThrow(/^data\[0\]: /);
  });

  it('reads tokenized rows, with labels, masks and padding', async () => {
    const { examples } = await read([
      { input_ids: [1, 2, 3] },
      { input_ids: [1, 2, 3], labels: [-100, 2, -100] },
      { input_ids: [1, 2, 3], completion_mask: [0, 0, 1] },
      { input_ids: [9, 1, 2, 9], attention_mask: [0, 1, 1, 0], labels: [-100, -100, 2, -100] },
    ]);
    expect(examples.map(({ labels }) => [...labels])).toEqual([
      [1, 2, 3],
      [-100, 2, -100],
      [-100, -100, 3],
      [-100, 2],
    ]);
    const alone = await loadDataset([{ input_ids: [1, 70_000] }], undefined, options);
    expect(alone.examples[0]?.inputIds).toEqual(Int32Array.of(1, 70_000));
    await expect(loadDataset([{ text: 'a' }], undefined, options)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
  });

  it('takes the format that is named', async () => {
    const rows = [{ text: 'hello', prompt: 'a', completion: 'b' }];
    expect((await read(rows)).report.format).toBe('prompt-completion');
    expect((await read(rows, { format: 'text' })).report).toMatchObject({ format: 'text', reason: 'as given' });
    await expect(read(rows, { format: 'alpaca' })).rejects.toThrow(/format is given as alpaca/);
    await expect(read(rows, { format: 'foo' as never })).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(read(rows, { maxLength: 1 })).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
  });
});

describe('cutting', () => {
  const rows = [
    { prompt: 'a'.repeat(10), completion: 'b'.repeat(4) },
    { prompt: 'a'.repeat(30), completion: 'b' },
    { prompt: 'a'.repeat(10), completion: 'b'.repeat(40) },
    { prompt: 'a', completion: 'b' },
  ];

  it('keeps the start, drops and names what has nothing left to learn', async () => {
    const { examples, report } = await read(rows, { maxLength: 20 });
    expect(examples.map((e) => [e.row, e.inputIds.length, e.truncated])).toEqual([
      [0, 15, false],
      [2, 20, true],
      [3, 3, false],
    ]);
    expect(report).toMatchObject({ rows: 4, examples: 3, truncated: 1, tokens: 38, labelTokens: 5 + 10 + 2, eosTrained: true });
    expect(report.dropped).toEqual([{ row: 1, reason: 'learned tokens begin at 30, beyond maxLength 20' }]);
    expect(report.lengthPercentiles).toEqual({ p5: 3, p25: 3, p50: 15, p75: 32, p95: 51, max: 51 });
    expect(report.warnings.join('\n')).toMatch(/1 dropped, 25\.0 % of the data, .*row 1/);
    expect(report.warnings.join('\n')).toMatch(/1 examples \(25\.0 %\) are longer than maxLength 20/);
  });

  it('refuses data of which nothing is left', async () => {
    await expect(read(rows.slice(1, 2), { maxLength: 20 })).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringMatching(/no row has anything to learn at maxLength 20: row 1|row 0/),
    });
    await expect(read([{ messages: [{ role: 'user', content: 'a' }] }])).rejects.toThrow(/no turn of the assistant/);
    await expect(read([{ input_ids: [1, 2], labels: [1, -100] }])).rejects.toThrow(/first token alone is learned/);
  });

  it('says where EOS is not learned', async () => {
    const { report } = await read(rows, { appendEos: false });
    expect(report.eosTrained).toBe(false);
    expect(report.warnings.join()).toMatch(/<\|im_end\|> is never learned/);
    const without = await loadDataset(rows, tinyTokenizer({ eos: null }), options);
    expect(without.report.warnings.join()).toMatch(/names no eos_token/);
  });
});

describe('token cache', () => {
  const cacheDir = join(folder, 'cache');
  const path = file(
    'cached.jsonl',
    `${pair}\n{"prompt":"${'a'.repeat(90)}","completion":"b"}\n{"prompt":"a","completion":"${'b'.repeat(90)}"}`,
  );

  it('gives the same data again, keyed by content and settings', async () => {
    const fresh = await read(path, { cacheDir: false });
    const first = await read(path, { cacheDir });
    expect(readdirSync(cacheDir)).toHaveLength(1);
    for (const data of [first, await read(path, { cacheDir })]) {
      expect(data.examples).toEqual(fresh.examples);
      expect(data.report).toEqual(fresh.report);
      expect(data.hash).toBe(fresh.hash);
    }
    await read(path, { cacheDir, maxLength: 32 });
    await read(path, { cacheDir, trainOn: 'all' });
    await loadDataset(path, tinyTokenizer({ addBos: true }), { ...options, cacheDir });
    await read(file('cached.jsonl', pair), { cacheDir });
    expect(readdirSync(cacheDir)).toHaveLength(5);
  });

  it('is really read, and rewritten where it is damaged', async () => {
    const dir = join(folder, 'damaged');
    const source = file('damaged.jsonl', pair);
    const fresh = await read(source, { cacheDir: dir });
    const cached = join(dir, readdirSync(dir)[0] as string);
    const good = readFileSync(cached);
    for (let at = 0; at < good.length; at += 41) {
      const broken = Buffer.from(good);
      broken[at] = (broken[at] as number) ^ 0x40;
      for (const bytes of [broken, good.subarray(0, at)]) {
        writeFileSync(cached, bytes);
        expect((await read(source, { cacheDir: dir })).hash).toBe(fresh.hash);
        expect(readFileSync(cached).equals(good)).toBe(true);
      }
    }
    expect(readdirSync(dir)).toHaveLength(1);
  });

  it('goes on without where it cannot be written', async () => {
    const { report, examples } = await read(file('uncached.jsonl', pair), { cacheDir: join(file('blocker', 'x'), 'cache') });
    expect(examples).toHaveLength(1);
    expect(report.warnings.join()).toMatch(/could not be kept/);
  });
});

describe('splitDataset', () => {
  const example = (row: number): Example => ({ inputIds: Int32Array.of(row, 1), labels: Int32Array.of(-100, 1), row, truncated: false });
  const examples = Array.from({ length: 40 }, (_, i) => example(i >> 1));

  it('holds out whole rows, the same ones for a seed, in the order of the data', () => {
    const { train, validation } = splitDataset(examples, 0.25, 1);
    const rows = (part: typeof examples) => part.map((e) => e.row);
    expect(new Set(rows(validation)).size).toBe(5);
    expect(validation).toHaveLength(10);
    expect([...rows(train), ...rows(validation)].sort((a, b) => a - b)).toEqual(rows(examples));
    expect(rows(train)).toEqual([...rows(train)].sort((a, b) => a - b));
    expect(splitDataset(examples, 0.25, 1).validation).toEqual(validation);
    expect(splitDataset(examples, 0.25, 2).validation).not.toEqual(validation);
    expect(splitDataset(examples, 3, 1).validation).toHaveLength(6);
    expect(splitDataset(examples, 0, 1)).toEqual({ train: examples, validation: [] });
  });

  it.each([-1, 1.5, 20, Number.NaN, 0.999])('refuses %d', (validation) => {
    expect(() => splitDataset(examples, validation, 1)).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }));
  });

  it('is part of loading', async () => {
    const rows = Array.from({ length: 10 }, (_, i) => ({ text: `hello ${i}` }));
    const { train, validation, examples: all } = await read(rows, { validationSplit: 0.2, seed: 3 });
    expect([train.length, validation.length, all.length]).toEqual([8, 2, 10]);
  });
});

describe.skipIf(!hasShared)('formats of real files', () => {
  const files: [string, string][] = [
    ['instruction/alpaca_en_demo.json', 'alpaca'],
    ['instruction/alpaca_zh_demo.json', 'alpaca'],
    ['instruction/identity.json', 'alpaca'],
    ['instruction/seed_tasks.jsonl', 'alpaca'],
    ['instruction/user_oriented_instructions.jsonl', 'alpaca'],
    ['instruction/v1_sft_demo.jsonl', 'messages'],
    ['tool-calling/glaive_toolcall_en_demo.json', 'sharegpt'],
    ['tool-calling/reason_tool_use_demo_50.jsonl', 'messages'],
    ['multitask-t0/qasc_is_correct_1.jsonl', 'prompt-completion'],
    ['math-code/gsm8k_test.jsonl', 'prompt-completion'],
    ['corpus/c4_demo.jsonl', 'text'],
    ['corpus/tinystories_1000.json', 'text'],
    ['pii-synthetic/pii_synthetic.jsonl', 'text'],
  ];
  it.each(files)('%s is %s', async (name, format) => {
    for await (const row of (await openRows(sharedPath('data', name))).rows) {
      expect(detectFormat(row).format).toBe(format);
    }
  });

  it.each(['preference/dpo_en_demo.json', 'preference/kto_en_demo.json', 'preference/v1_dpo_demo.jsonl', 'math-code/HumanEval.jsonl.gz'])(
    '%s is refused',
    async (name) => {
      await expect(read(sharedPath('data', name))).rejects.toMatchObject({ code: 'ERR_DATA_INVALID' });
    },
  );
});
