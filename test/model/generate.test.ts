import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { threads } from '../../lib/core/device.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import { Decoding } from '../../lib/generate/decoding.js';
import { StopStrings } from '../../lib/generate/stop-strings.js';
import { loadModel, type Model } from '../../lib/index.js';
import { LoadedModel } from '../../lib/loaded-model.js';
import { temporaryFolder } from '../formats/temporary.js';
import { hasShared, sharedPath } from '../shared.js';
import { largestDifference, storiesGolden, textOf } from './golden.js';

const path = sharedPath('models', 'stories260K');

/** A copy of the small model with other values in its configuration files. */
function variant(changes: Record<string, Record<string, unknown>>): string {
  const folder = join(temporaryFolder(), 'model');
  cpSync(path, folder, { recursive: true });
  for (const [file, values] of Object.entries(changes)) {
    const name = join(folder, file);
    writeFileSync(name, JSON.stringify({ ...JSON.parse(readFileSync(name, 'utf8')), ...values }));
  }
  return folder;
}

describe.skipIf(!hasShared)('decoding with a cache', () => {
  // The same products summed in another order: a few units in the last place of the activations, as a share of the largest logit. In bf16,
  // products of many rows also round f32 weights, and those of one row do not.
  it.each([
    ['f32', 'f32', path, 16 * 2 ** -23],
    ['bf16', 'bf16', sharedPath('models', 'stories260K-variants', 'llama-bf16-sharded'), 4 * 2 ** -8],
    ['bf16', 'f32', path, 8 * 2 ** -8],
  ] as const)('gives the logits of a whole pass in %s from weights in %s', async (dtype, _, path, tolerance) => {
    const model = new LoadedModel({ path, dtype });
    const { ids } = storiesGolden().greedy_from_bos_256;
    const decoding = new Decoding(model, 100, ids.length);
    decoding.feed(ids.slice(0, 100));
    const got = [decoding.logits()];
    for (const id of ids.slice(100, 130)) {
      decoding.feed([id]);
      got.push(decoding.logits());
    }
    decoding.feed(ids.slice(130, 200));
    got.push(decoding.logits());
    decoding.dispose();
    model.dispose();

    await using whole = await loadModel({ path, dtype });
    const rows = whole.logits(ids.slice(0, 200));
    const want = [...rows.slice(99, 130), rows[199] as Float32Array];
    const largest = Math.max(...want.flatMap((row) => [...row].map(Math.abs)));
    got.forEach((row, i) => expect(largestDifference(row, want[i] ?? []) / largest).toBeLessThan(tolerance));
  });

  it('feeds a prompt longer than one pass in pieces', async () => {
    const long = variant({ 'config.json': { max_position_embeddings: 2048 } });
    const model = new LoadedModel({ path: long });
    const ids = Array.from({ length: 1100 }, (_, i) => 3 + ((i * 37) % 500));
    const decoding = new Decoding(model, ids.length, ids.length + 1);
    const sizes: number[] = [];
    for (const piece of decoding.pieces(ids)) {
      sizes.push(piece.length);
      decoding.feed(piece);
    }
    const got = decoding.logits();
    model.dispose();
    const whole = await loadModel({ path: long });
    expect(sizes).toEqual([512, 512, 76]);
    expect(largestDifference(got, whole.logits(ids).at(-1) ?? [])).toBeLessThan(1e-4);
    whole.dispose();
  });

  it('goes on with what it compiled when the number of threads changes', () => {
    const before = threads();
    const model = new LoadedModel({ path });
    const logits = [1, 3].map((compiled) => {
      threads(compiled);
      const decoding = new Decoding(model, 3, 8);
      decoding.feed([1, 5, 9]);
      threads(4 - compiled);
      for (const id of [7, 11]) decoding.feed([id]);
      return decoding.logits();
    });
    threads(before);
    model.dispose();
    expect(logits[0]).toEqual(logits[1]);
  });

  it('allocates nothing after the first token', async () => {
    const model = await loadModel({ path });
    const counts: number[] = [];
    for await (const _ of model.generate('Once upon a time', { maxNewTokens: 40, temperature: 1 }))
      counts.push(memoryStatistics().allocations);
    model.dispose();
    expect(counts.length).toBeGreaterThan(20);
    expect(new Set(counts).size).toBe(1);
  });
});

describe.skipIf(!hasShared)('generation', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel({ path });
  });
  afterAll(() => model?.dispose());

  it('draws the same for the same seed, and something else for another', async () => {
    const draw = (seed: number) => textOf(model.generate('Once upon a time', { maxNewTokens: 40, temperature: 1, seed }));
    const first = await draw(7);
    expect(await draw(7)).toBe(first);
    expect(await draw(8)).not.toBe(first);
  });

  it('topK 1 and a tiny topP are greedy at any temperature', async () => {
    const greedy = await textOf(model.generate('Tom and his dog', { maxNewTokens: 40 }));
    const options = { maxNewTokens: 40, temperature: 2, seed: 3 };
    expect(await textOf(model.generate('Tom and his dog', { ...options, topK: 1 }))).toBe(greedy);
    expect(await textOf(model.generate('Tom and his dog', { ...options, topP: 1e-6 }))).toBe(greedy);
  });

  it('does not depend on what runs beside it', async () => {
    const alone = await textOf(model.generate('Tom', { maxNewTokens: 30, temperature: 1 }));
    const pieces = [0, 1, 2].map(() => textOf(model.generate('Tom', { maxNewTokens: 30, temperature: 1 })));
    expect(await Promise.all(pieces)).toEqual([alone, alone, alone]);
  });

  it('stops before a stop string, also one that comes in pieces', async () => {
    const whole = await textOf(model.generate('Once upon a time', { maxNewTokens: 60 }));
    const stop = whole.slice(25, 40);
    const pieces: string[] = [];
    for await (const piece of model.generate('Once upon a time', { maxNewTokens: 60, stopStrings: ['zzz', stop] })) pieces.push(piece);
    expect(pieces.join('')).toBe(whole.slice(0, whole.indexOf(stop)));
  });

  it('puts one BOS token in front, never two', async () => {
    const written = await textOf(model.generate('<s>Once upon a time', { maxNewTokens: 20 }));
    expect(written).toBe(await textOf(model.generate('Once upon a time', { maxNewTokens: 20 })));
    expect(await model.generateTokens([1, 403, 407], { maxNewTokens: 4 })).toHaveLength(4);
  });

  it('ends where the context is full', async () => {
    const ids = Array.from({ length: 500 }, (_, i) => 3 + (i % 400));
    expect(await model.generateTokens(ids, { maxNewTokens: 100 })).toHaveLength(12);
  });

  it.each([
    ['longer than the context', Array.from({ length: 513 }, () => 5), 'ERR_DATA_INVALID'],
    ['as long as the context', Array.from({ length: 512 }, () => 5), 'ERR_DATA_INVALID'],
    ['without tokens', [], 'ERR_DATA_INVALID'],
    ['with an id of another model', [1, 512], 'ERR_DATA_INVALID'],
    ['with a negative id', [-1], 'ERR_DATA_INVALID'],
  ])('refuses a prompt %s', async (_, ids, code) => {
    await expect(model.generateTokens(ids)).rejects.toMatchObject({ code });
  });

  it('refuses wrong options, all at once', () => {
    const wrong = { temperature: -1, maxNewTokens: 0, topk: 3 } as object;
    expect(() => model.generate('x', wrong)).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID', message: expect.stringMatching(/3 problems/) }),
    );
  });

  it('needs a chat template for messages', () => {
    expect(model.hasChatTemplate).toBe(false);
    expect(() => model.generate([{ role: 'user', content: 'Hello' }])).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }));
  });

  it('a signal ends it, and its memory comes back', async () => {
    const before = memoryStatistics().current;
    const controller = new AbortController();
    const run = async () => {
      let pieces = 0;
      for await (const _ of model.generate('Once', { maxNewTokens: 400, signal: controller.signal }))
        if (++pieces === 3) controller.abort();
    };
    await expect(run()).rejects.toMatchObject({ name: 'AbortError' });
    expect(memoryStatistics().current).toEqual(before);
  });

  it('leaving the loop gives its memory back', async () => {
    const before = memoryStatistics().current;
    for await (const _ of model.generate('Once', { maxNewTokens: 400 })) break;
    expect(memoryStatistics().current).toEqual(before);
  });
});

describe.skipIf(!hasShared)('end of the text', () => {
  const greedy = () => storiesGolden().greedy_prompt_60.ids;

  it.each(['generation_config.json', 'config.json'])('stops at any id of %s', async (file) => {
    const ids = greedy();
    const prompt = ids.slice(0, 7);
    const end = ids[20] as number;
    await using model = await loadModel({ path: variant({ [file]: { eos_token_id: [2, end] } }) });
    const expected = ids.slice(7, ids.indexOf(end, 7) + 1);
    expect(await model.generateTokens(prompt, { maxNewTokens: 60 })).toEqual(expected);
    const text = await textOf(model.generate('Tom and his dog', { maxNewTokens: 60 }));
    expect(text).toBe(model.tokenizer!.decode(expected.slice(0, -1)));
  });
});

describe('stop strings', () => {
  const through = (strings: string[], pieces: string[]): string[] => {
    const stops = new StopStrings(strings);
    return [...pieces.map((p) => stops.push(p)), stops.flush()];
  };

  it('holds back only what may be a beginning', () => {
    expect(through(['abc'], ['xa', 'b', 'd', 'ab'])).toEqual(['x', '', 'abd', '', 'ab']);
    expect(through(['abc'], ['aab', 'cq', 'r'])).toEqual(['a', '', '', '']);
    expect(through(['b', 'ab'], ['xab'])).toEqual(['x', '']);
    expect(through([], ['a', 'b'])).toEqual(['a', 'b', '']);
  });
});
