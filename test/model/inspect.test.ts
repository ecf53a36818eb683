import { arch, platform } from 'node:os';
import { describe, expect, it } from 'vitest';
import { memoryStatistics } from '../../lib/core/memory.js';
import { devices, doctor, inspectData, inspectModel, plan, version } from '../../lib/index.js';
import { fileIn, temporaryFolder } from '../formats/temporary.js';
import { hasShared, sharedPath } from '../shared.js';

const model = (...parts: string[]) => sharedPath('models', ...parts);

describe.skipIf(!hasShared)('inspectModel', () => {
  it('describes a folder', () => {
    expect(inspectModel(model('stories260K'))).toMatchObject({
      format: 'safetensors',
      modelType: 'llama',
      trainable: true,
      parameters: { total: 260_032, embedding: 32_768, head: 0, norms: 704 },
      layers: 5,
      heads: 8,
      kvHeads: 4,
      contextTokens: 512,
      vocabulary: 512,
      storage: [{ type: 'f32', parameters: 260_032, bytes: 1_040_128 }],
      tokenizer: true,
      chatTemplate: false,
    });
  });

  it('counts the parts to the total in every family', () => {
    for (const name of ['llama-untied', 'qwen2-zero-bias', 'phi3-fused', 'gemma-silu', 'stories260K-q8_0.gguf']) {
      const { parameters, storage } = inspectModel(model('stories260K-variants', name));
      const { total, ...parts } = parameters!;
      expect(Object.values(parts).reduce((a, b) => a + b)).toBe(total);
      expect(
        storage.reduce((sum, s) => sum + s.parameters, 0),
        name,
      ).toBe(total);
    }
  });

  it('reads a GGUF file and its chat template', () => {
    expect(inspectModel(model('smollm2-135m-instruct', 'SmolLM2-135M-Instruct.Q4_1.gguf'))).toMatchObject({
      format: 'gguf',
      parameters: { total: 134_515_008 },
      storage: [{ type: 'q4_1', tensors: 210 }, { type: 'q8_0' }, { type: 'f32', tensors: 61 }],
      tokenizer: true,
      chatTemplate: true,
    });
  });

  it('works from a bare config.json', () => {
    const inspection = inspectModel(model('stories260K', 'config.json'));
    expect(inspection).toMatchObject({ format: 'config', trainable: true, parameters: { total: 260_032 }, storage: [], weightBytes: 0 });
  });

  it('says why a model cannot be trained', () => {
    const rwkv = inspectModel(model('rwkv4-tiny-660K'));
    expect(rwkv).toMatchObject({ modelType: 'rwkv', trainable: false, reason: expect.stringContaining('rwkv') });
    expect(rwkv.storage).toEqual([{ type: 'f32', tensors: 78, parameters: 661_504, bytes: 2_646_016 }]);
  });

  it('keeps no file open, and refuses what is no model', () => {
    const before = memoryStatistics().current;
    inspectModel(model('smollm2-135m-instruct'));
    plan({ model: model('smollm2-135m-instruct') });
    expect(memoryStatistics().current).toEqual(before);
    expect(() => inspectModel(model('none'))).toThrow(expect.objectContaining({ code: 'ERR_FILE' }));
  });
});

describe.skipIf(!hasShared)('inspectData', () => {
  it('shows what is learned', async () => {
    const folder = temporaryFolder();
    const data = fileIn(folder, 'pairs.jsonl', '{"prompt":"Once upon","completion":" a time"}\n');
    const { report, sample } = await inspectData({ model: model('stories260K'), data, cacheDir: folder });
    expect(report).toMatchObject({ format: 'prompt-completion', examples: 1, eosTrained: true });
    expect(sample.segments.filter((s) => s.learned).map((s) => s.text)).toEqual([' a time</s>']);
  });
});

describe('doctor', () => {
  it('says what runs here', () => {
    const report = doctor();
    expect(report).toMatchObject({ version, node: process.versions.node, platform: `${platform()}-${arch()}`, devices: devices() });
    expect(report.addon).toMatch(/\.node$/);
    expect(report.threads).toBeGreaterThan(0);
    expect(report.freeMemoryBytes).toBeLessThanOrEqual(report.totalMemoryBytes);
    expect(report.devices.find((d) => d.type === 'cuda')).toMatchObject({ available: false, reason: expect.stringMatching(/CUDA/) });
  });
});
