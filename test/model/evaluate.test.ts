import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { memoryStatistics } from '../../lib/core/memory.js';
import { SafetensorsSource } from '../../lib/formats/safetensors.js';
import { loadModel } from '../../lib/index.js';
import { fileIn, temporaryFolder } from '../formats/temporary.js';
import { hasShared, sharedPath } from '../shared.js';
import { trainAdapter, validationFile } from './adapter.js';
import { largestDifference, logSumExp, stories, storiesGolden } from './golden.js';

const path = sharedPath('models', 'stories260K');

describe.skipIf(!hasShared)('evaluate', () => {
  const folder = temporaryFolder();
  const cacheDir = join(folder, 'cache');
  const asIs = { maxLength: 512, appendEos: false, cacheDir };

  it('has the loss of transformers on each of twenty stories', async () => {
    await using model = await loadModel({ path });
    const losses: number[] = [];
    for (const [i, story] of stories().slice(0, 20).entries()) {
      const data = fileIn(folder, `story-${i}.json`, JSON.stringify([story]));
      losses.push((await model.evaluate(data, asIs)).loss);
    }
    expect(largestDifference(losses, storiesGolden().story_loss.per_story_first_20)).toBeLessThan(1e-4);
  });

  it('has the token-weighted loss of transformers over two hundred stories', async () => {
    await using model = await loadModel({ path });
    const { token_mean, tokens } = storiesGolden().story_loss;
    const data = fileIn(folder, 'stories.json', JSON.stringify(stories().slice(0, 200)));
    const result = await model.evaluate(data, asIs);
    expect(result).toMatchObject({ tokens, examples: 200 });
    expect(Math.abs(result.loss - token_mean)).toBeLessThan(1e-4);
    expect(result.perplexity).toBeCloseTo(Math.exp(token_mean), 3);
  });

  it('has one loss, however the examples are put together', async () => {
    await using model = await loadModel({ path });
    const data = fileIn(folder, 'twelve.json', JSON.stringify(stories().slice(0, 12)));
    const packed = await model.evaluate(data, { ...asIs, batchSize: 4 });
    for (const batchSize of [1, 5]) {
      const { loss, tokens } = await model.evaluate(data, { ...asIs, batchSize, packing: false });
      expect(tokens).toBe(packed.tokens);
      expect(loss).toBeCloseTo(packed.loss, 6);
    }
  });

  it('with an adapter says what training said', async () => {
    const { out, events } = await trainAdapter(folder, path);
    const evaluated = events.findLast((e) => e.type === 'eval');
    const data = validationFile(folder);
    await using model = await loadModel({ path, adapter: out });
    await using base = await loadModel({ path });
    const result = await model.evaluate(data, { maxLength: 96, batchSize: 2, cacheDir });
    expect(result.loss).toBeCloseTo(evaluated!.loss, 6);
    expect(result.tokens).toBe(evaluated!.tokens);
    expect(Math.abs((await base.evaluate(data, { maxLength: 96, batchSize: 2, cacheDir })).loss - result.loss)).toBeGreaterThan(1e-2);
  });

  it('writes logits that give its loss', async () => {
    const file = join(folder, 'logits.safetensors');
    const data = fileIn(folder, 'few.json', JSON.stringify(stories().slice(0, 3)));
    await using model = await loadModel({ path });
    const before = memoryStatistics().current;
    const result = await model.evaluate(data, { maxLength: 50, cacheDir, logits: file });
    expect(memoryStatistics().current).toEqual(before);
    const weights = SafetensorsSource.openFile(file);
    let sum = 0;
    let tokens = 0;
    for (let i = 0; i < 3; i++) {
      const ids = weights.tensor(`input_ids.${i}`).read();
      const logits = weights.tensor(`logits.${i}`);
      const values = logits.read();
      expect(logits.shape).toEqual([50, 512]);
      for (let t = 0; t + 1 < ids.length; t++, tokens++) {
        const row = values.subarray(t * 512, (t + 1) * 512);
        sum += logSumExp(row) - (row[ids[t + 1] as number] as number);
      }
    }
    weights.close();
    expect(tokens).toBe(result.tokens);
    expect(sum / tokens).toBeCloseTo(result.loss, 5);
  });

  it('a signal ends it', async () => {
    await using model = await loadModel({ path });
    const data = fileIn(folder, 'stories.json', JSON.stringify(stories().slice(0, 200)));
    const before = memoryStatistics().current;
    const controller = new AbortController();
    const result = model.evaluate(data, { ...asIs, batchSize: 1, packing: false, signal: controller.signal });
    setTimeout(() => controller.abort(), 30);
    await expect(result).rejects.toMatchObject({ name: 'AbortError' });
    expect(memoryStatistics().current).toEqual(before);
  });

  it('refuses wrong options, missing files and examples beyond the context', async () => {
    await using model = await loadModel({ path });
    const data = fileIn(folder, 'long.json', JSON.stringify([stories().join(' ')]));
    await expect(model.evaluate(data, { maxLength: 4096, cacheDir })).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(model.evaluate(data, { maxlength: 4 } as object)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(model.evaluate(join(folder, 'none.json'), { cacheDir })).rejects.toMatchObject({ code: 'ERR_FILE' });
  });
});
