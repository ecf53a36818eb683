import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { memoryStatistics } from '../../lib/core/memory.js';
import { inspectModel, loadModel, type Model } from '../../lib/index.js';
import { temporaryFolder } from '../formats/temporary.js';
import { hasShared, sharedPath } from '../shared.js';
import { trainAdapter } from './adapter.js';
import { largestDifference, storiesGolden } from './golden.js';

describe.skipIf(!hasShared)('merge', () => {
  const golden = hasShared ? storiesGolden() : undefined;
  const lastLogits = (model: Model) => model.logits(golden!.logits.ids).at(-1) as Float32Array;

  async function mergedAndNot(base: string, options: { dtype?: 'f32' | 'f16' | 'bf16' } = {}) {
    const folder = temporaryFolder();
    const path = sharedPath('models', ...base.split('/'));
    const { out: adapter } = await trainAdapter(folder, path, { method: { type: 'lora', rank: 4, alpha: 8 } });
    const out = join(folder, 'merged');
    await using adapted = await loadModel({ path, adapter });
    const before = memoryStatistics().current;
    const result = await adapted.merge(out, options);
    expect(memoryStatistics().current).toEqual(before);
    await using plain = await loadModel({ path });
    await using merged = await loadModel({ path: out });
    return { out, result, plain: lastLogits(plain), adapted: lastLogits(adapted), merged: lastLogits(merged) };
  }

  it.each(['stories260K', 'stories260K-variants/phi3-fused', 'stories260K-variants/llama-untied'])(
    '%s has the logits of the adapter',
    async (base) => {
      const { out, result, plain, adapted, merged } = await mergedAndNot(base);
      expect(largestDifference(plain, adapted)).toBeGreaterThan(0.1);
      expect(largestDifference(merged, adapted)).toBeLessThan(2e-5);
      expect(result).toMatchObject({ out, dtype: 'f32', files: ['model.safetensors'] });
      expect(result.layers).toHaveLength(base.includes('phi3') ? 20 : 35);
      expect(result.layers.every((l) => l.changeNorm > 0 && l.relativeChange > 0 && l.relativeChange < 1)).toBe(true);
      for (const file of ['config.json', 'tokenizer.json', 'generation_config.json']) expect(existsSync(join(out, file)), file).toBe(true);
    },
  );

  it('keeps the 16-bit type of the base, to its rounding', async () => {
    const { out, result, adapted, merged } = await mergedAndNot('stories260K-variants/llama-bf16-sharded');
    expect(result.dtype).toBe('bf16');
    expect(inspectModel(out).storage.map((s) => s.type)).toEqual(['bf16']);
    // Rounding 2^-9 of each weight.
    expect(largestDifference(merged, adapted)).toBeLessThan(0.5);
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).torch_dtype).toBe('bfloat16');
  });

  it('a quantized base becomes bf16, and says so', async () => {
    const { out, result, plain, adapted, merged } = await mergedAndNot('stories260K-variants/stories260K-q8_0.gguf');
    expect(result).toMatchObject({ dtype: 'bf16', dequantizedFrom: 'q8_0' });
    expect(inspectModel(out)).toMatchObject({ format: 'safetensors', tokenizer: true, trainable: true });
    expect(inspectModel(out).storage.map((s) => s.type)).toEqual(['bf16']);
    expect(largestDifference(merged, adapted)).toBeLessThan(largestDifference(plain, adapted) / 2);
  });

  it('a quantized base in f32 has the logits of the adapter', async () => {
    const { result, adapted, merged } = await mergedAndNot('stories260K-variants/stories260K-q8_0.gguf', { dtype: 'f32' });
    expect(result.dtype).toBe('f32');
    expect(largestDifference(merged, adapted)).toBeLessThan(2e-5);
  });

  it('refuses to overwrite, to lose the base, and to merge nothing', async () => {
    const folder = temporaryFolder();
    const path = sharedPath('models', 'stories260K');
    const { out: adapter } = await trainAdapter(folder, path);
    await using model = await loadModel({ path, adapter });
    await using plain = await loadModel({ path });
    const out = join(folder, 'merged');
    await expect(plain.merge(out)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(model.merge(path, { overwrite: true })).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(model.merge(adapter, { overwrite: true })).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(model.merge(out, { dtype: 'q4' } as object)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await model.merge(out);
    await expect(model.merge(out)).rejects.toMatchObject({ code: 'ERR_FILE' });
    await model.merge(out, { overwrite: true });
    await expect(loadModel({ path: sharedPath('models', 'smollm2-135m-instruct'), adapter })).rejects.toMatchObject({
      code: 'ERR_ADAPTER_MISMATCH',
    });
  });
});
