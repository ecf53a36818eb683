import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { hasShared, sharedPath } from '../shared.js';
import { largestDifference, logSumExp, storiesGolden, textOf } from './golden.js';

const variants: [name: string, weights: 'exact' | 'rounded'][] = [
  ['stories260K', 'exact'],
  ['stories260K-variants/llama-untied', 'exact'],
  ['stories260K-variants/mistral', 'exact'],
  ['stories260K-variants/qwen2-zero-bias', 'exact'],
  ['stories260K-variants/phi3-fused', 'exact'],
  ['stories260K-variants/gemma-silu', 'exact'],
  ['stories260K-variants/stories260K-f32.gguf', 'exact'],
  ['stories260K-variants/stories260K-f16.gguf', 'rounded'],
  ['stories260K-variants/llama-f16', 'rounded'],
  ['stories260K-variants/llama-bf16-sharded', 'rounded'],
];

describe.skipIf(!hasShared).each(variants)('%s', (name, weights) => {
  const golden = hasShared ? storiesGolden() : undefined;
  let model: Model;
  beforeAll(async () => {
    model = await loadModel({ path: sharedPath('models', ...name.split('/')) });
  });
  afterAll(() => model?.dispose());

  it('continues a prompt as the original does', async () => {
    const { prompt, ids, text } = golden!.greedy_prompt_60;
    const prefix = ids.length - 60;
    expect(await model.generateTokens(ids.slice(0, prefix), { maxNewTokens: 60 })).toEqual(ids.slice(prefix));
    expect(prompt + (await textOf(model.generate(prompt, { maxNewTokens: 60 })))).toBe(text);
  });

  it.runIf(weights === 'exact')('writes the published story from nothing', async () => {
    const { ids, text } = golden!.greedy_from_bos_256;
    expect(await model.generateTokens([1], { maxNewTokens: 256 })).toEqual(ids.slice(1));
    expect(await textOf(model.generate('', { maxNewTokens: 256 }))).toBe(text);
  });

  it.runIf(weights === 'exact')('has the logits of the original', () => {
    const { ids, last_position, per_position_logsumexp } = golden!.logits;
    const rows = model.logits(ids);
    expect(largestDifference(rows.at(-1) ?? [], last_position)).toBeLessThan(1e-4);
    expect(largestDifference(rows.map(logSumExp), per_position_logsumexp)).toBeLessThan(1e-4);
  });
});

describe.skipIf(!hasShared)('8-bit weights', () => {
  // Rounding moves a weight by at most 1/254 of the largest of its block: the text begins alike, and logits (spread about 20) differ by tenths.
  it('are near the original', async () => {
    const { greedy_prompt_60, logits } = storiesGolden();
    await using model = await loadModel({ path: sharedPath('models', 'stories260K-variants', 'stories260K-q8_0.gguf') });
    const prefix = greedy_prompt_60.ids.length - 60;
    const made = await model.generateTokens(greedy_prompt_60.ids.slice(0, prefix), { maxNewTokens: 8 });
    const difference = largestDifference(model.logits(logits.ids).at(-1) ?? [], logits.last_position);
    expect(made).toEqual(greedy_prompt_60.ids.slice(prefix, prefix + 8));
    expect(difference).toBeGreaterThan(1e-4);
    expect(difference).toBeLessThan(0.5);
  });
});
