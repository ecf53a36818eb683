import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type PlanConfigInput, plan } from '../../lib/index.js';

const root = join(import.meta.dirname, '..', '..');
const configs = join(root, 'docs', 'configs');
const GiB = 2 ** 30;

const rows = readFileSync(join(configs, 'README.md'), 'utf8').matchAll(/^\| `([\w.-]+)` +\| \S+ +\| +([\d,]+) \| (\S.+?) *\|$/gm);
const listed = Array.from(rows, ([, file = '', parameters = '', source = '']) => ({
  file,
  parameters: Number(parameters.replaceAll(',', '')),
  source,
}));

describe('docs/configs', () => {
  it('lists every file with its source', () => {
    expect(listed.map(({ file }) => file).sort()).toEqual(
      readdirSync(configs)
        .filter((name) => name.endsWith('.json'))
        .sort(),
    );
    for (const { file, source } of listed) expect(source, file).toMatch(/^https:\/\/huggingface\.co\/\S+config\.json$|^arXiv/);
  });

  it.each(listed)('$file: the parameters that are published', ({ file, parameters }) => {
    const { totalParameters } = plan({ model: join(configs, file), method: { type: 'full' }, batchSize: 1, maxLength: 8 });
    expect(totalParameters).toBe(parameters);
  });
});

it('docs/memory.md and its picture are what the code says now (npm run generate:memory)', { timeout: 300_000 }, () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'generate-memory.mjs'), '--check'], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
});

describe('bounds of published figures, in GiB', () => {
  const bytesOf = (file: string, settings: Omit<PlanConfigInput, 'model'>) =>
    plan({ model: join(configs, `${file}.json`), dtype: 'bf16', checkpointing: 'block', packing: false, ...settings }).bytes;
  const batch = { batchSize: 2, maxLength: 2048 };

  it('LOMO on LLaMA-7B, 8 x 512: 14.58 in arXiv 2306.09782, of them 12.55 of weights', () => {
    const bytes = bytesOf('llama-7b', { batchSize: 8, maxLength: 512, method: { type: 'full' }, optimizer: { type: 'lomo' } });
    expect(bytes.weights / GiB).toBeCloseTo(12.55, 2);
    expect(bytes.total / GiB).toBeLessThanOrEqual(14.2);
  });

  it.each([8, 16])('QLoRA of rank %i on Llama-3.1-8B, 2 x 2048: 7.4 in torchtune', (rank) => {
    const bytes = bytesOf('llama-3.1-8b', { ...batch, quantize: 'nf4', method: { type: 'lora', rank } });
    const head = 128256 * 4096 * 2;
    // What stays in the file is the head, which every step reads whole, and the embedding, of which it reads rows.
    expect(bytes.weightsMapped / head).toBeCloseTo(2, 2);
    expect(bytes.total / GiB).toBeLessThanOrEqual(6.9);
    expect((bytes.total + head) / GiB).toBeLessThanOrEqual(6.9);
    // Everything, with the embedding's table as a whole: by the inputs of every fourth block only.
    const grouped = bytesOf('llama-3.1-8b', { ...batch, quantize: 'nf4', method: { type: 'lora', rank }, checkpointing: 4 });
    expect(grouped.weightsMapped).toBe(bytes.weightsMapped);
    expect((grouped.total + grouped.weightsMapped) / GiB).toBeLessThanOrEqual(6.9);
  });

  it('full training of Llama-3.1-8B, 2 x 2048: 18.9 in torchtune, whose states are paged', () => {
    const full = { ...batch, method: { type: 'full' } } as const;
    const lomo = bytesOf('llama-3.1-8b', { ...full, optimizer: { type: 'lomo' } });
    expect(lomo.total / GiB).toBeLessThanOrEqual(18.9);
    const adamw = bytesOf('llama-3.1-8b', { ...full, optimizer: { type: 'adamw', fused: true, stateDtype: '8bit' } });
    expect(adamw.gradients).toBe(0);
    expect(adamw.optimizer / adamw.weights).toBeCloseTo(2.03125 / 2, 3);
    expect((adamw.total - adamw.optimizer) / GiB).toBeLessThanOrEqual(18.9);
  });
});
