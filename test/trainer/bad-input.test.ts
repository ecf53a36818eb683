import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import { FinetuneError } from '../../lib/native/errors.js';
import { addon } from '../../lib/native/loader.js';
import { fixturePath } from '../parity/fixture.js';
import { smallRun, temporaryFolder, trainHere } from './training.js';

/** Trains and returns the typed error it ends with; nothing is left behind: no output, no native memory. */
async function failure(folder: string, overrides: Partial<TrainConfigInput>): Promise<FinetuneError> {
  const before = memoryStatistics();
  const error = await trainHere(smallRun(folder, overrides)).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(FinetuneError);
  const after = memoryStatistics();
  expect(after.heapCurrent).toBe(before.heapCurrent);
  expect(after.current.mapped).toBe(before.current.mapped);
  return error as FinetuneError;
}

/** A copy of a fixture model with something changed. */
function spoiledModel(folder: string, change: (dir: string) => void, name = 'smollm2'): string {
  const dir = join(folder, 'model');
  cpSync(fixturePath(name), dir, { recursive: true });
  change(dir);
  return dir;
}

function patchConfig(dir: string, patch: Record<string, unknown>): void {
  const path = join(dir, 'config.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...patch }));
}

describe('models', () => {
  const cases: [string, (dir: string) => void, string, RegExp][] = [
    ['an unknown architecture', (d) => patchConfig(d, { model_type: 'gpt_oss' }), 'ERR_MODEL_UNSUPPORTED', /gpt_oss.*supported are llama/],
    [
      'an unknown rope',
      (d) => patchConfig(d, { rope_scaling: { rope_type: 'spiral', factor: 2 } }),
      'ERR_MODEL_UNSUPPORTED',
      /spiral.*default, linear, llama3/,
    ],
    [
      'a config of another size',
      (d) => patchConfig(d, { hidden_size: 48, head_dim: 12 }),
      'ERR_MODEL_CORRUPT',
      /has shape \[96,36\].*asks for \[96,48\]/,
    ],
    ['more layers than there are weights', (d) => patchConfig(d, { num_hidden_layers: 9 }), 'ERR_MODEL_CORRUPT', /layers\.2/],
    [
      'a config without a key',
      (d) => patchConfig(d, { hidden_size: null }),
      'ERR_MODEL_CORRUPT',
      /hidden_size must be a positive integer, got null/,
    ],
    ['heads that do not divide', (d) => patchConfig(d, { num_key_value_heads: 2 }), 'ERR_MODEL_CORRUPT', /num_key_value_heads.*divisor/],
    [
      'a truncated file',
      (d) => writeFileSync(join(d, 'model.safetensors'), readFileSync(join(d, 'model.safetensors')).subarray(0, 5000)),
      'ERR_MODEL_CORRUPT',
      /model\.safetensors/,
    ],
  ];
  it.each(cases)('%s', async (_name, change, code, message) => {
    const folder = temporaryFolder();
    const error = await failure(folder, { model: spoiledModel(folder, change) });
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(existsSync(join(folder, 'out'))).toBe(false);
  });

  it('a missing folder', async () => {
    const folder = temporaryFolder();
    expect(await failure(folder, { model: join(folder, 'nothing') })).toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringContaining('nothing'),
    });
  });
});

describe('data', () => {
  const cases: [string, string, string, RegExp][] = [
    ['malformed JSON', '{"input_ids":[1,2,3]}\n{"input_ids":[1,2', 'ERR_DATA_INVALID', /data\.jsonl:2/],
    ['an empty file', '', 'ERR_DATA_INVALID', /data\.jsonl/],
    ['rows with nothing to learn', '{"input_ids":[1,2,3],"labels":[-100,-100,-100]}\n', 'ERR_DATA_INVALID', /label|learn/],
    [
      'labels that truncation cuts off',
      `{"input_ids":[${'5,'.repeat(40)}5],"labels":[${'-100,'.repeat(40)}5]}\n`,
      'ERR_DATA_INVALID',
      /label|learn/,
    ],
    ['tokens the model does not know', '{"input_ids":[1,2,3000]}\n', 'ERR_DATA_INVALID', /3000.*0 to 95/],
    ['text without a tokenizer', '{"text":"hello"}\n', 'ERR_CONFIG_INVALID', /tokenizer/],
  ];
  it.each(cases)('%s', async (_name, text, code, message) => {
    const folder = temporaryFolder();
    const data = join(folder, 'data.jsonl');
    writeFileSync(data, text);
    const error = await failure(folder, { data });
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('examples longer than the context of the model', async () => {
    const folder = temporaryFolder();
    const data = join(folder, 'data.jsonl');
    writeFileSync(data, `${JSON.stringify({ input_ids: Array(80).fill(7) })}\n`);
    expect(await failure(folder, { data, maxLength: 128 })).toMatchObject({
      code: 'ERR_CONFIG_INVALID',
      message: expect.stringMatching(/80 tokens.*64.*maxLength/),
    });
  });
});

describe('runs', () => {
  it('an output folder that is not empty stays as it is', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'out'));
    writeFileSync(join(folder, 'out', 'precious.txt'), 'x');
    expect(await failure(folder, {})).toMatchObject({ code: 'ERR_FILE' });
    expect(readdirSync(join(folder, 'out'))).toEqual(['precious.txt']);
  });

  it('a plan above the memory limit is refused with what would help', async () => {
    const error = await failure(temporaryFolder(), { memoryLimit: 4096 });
    expect(error.code).toBe('ERR_OUT_OF_MEMORY');
    expect(error.message).toMatch(/the plan needs .*the limit is .*weights.*arena.*checkpointing block/s);
    expect(error.details.plan).toMatchObject({ total: error.details.requested });
  });

  it('memory that runs out at any allocation is a typed error, and all of it comes back', async () => {
    for (let site = 0; site < 6; site++) {
      addon().failAllocationAfter(site);
      try {
        expect((await failure(temporaryFolder(), { method: { type: 'full' } })).code).toBe('ERR_OUT_OF_MEMORY');
      } finally {
        addon().failAllocationAfter(-1);
      }
    }
  });

  it.each([
    ['accumulated', { optimizer: { type: 'sgd' as const }, maxGradNorm: 0 }],
    ['fused', { optimizer: { type: 'lomo' as const } }],
  ])('a loss that is no number stops the run before weights change: %s', async (_name, settings) => {
    const folder = temporaryFolder();
    const error = await failure(folder, { ...settings, method: { type: 'full' }, learningRate: 1e30, checkpoint: { everySteps: 1 } });
    expect(error.code).toBe('ERR_NONFINITE_LOSS');
    expect(error.message).toMatch(/learningRate/);
    expect(readdirSync(join(folder, 'out', 'checkpoints'))).toContain('checkpoint-1');
    expect(existsSync(join(folder, 'out', 'model.safetensors'))).toBe(false);
  });

  it('targets that match nothing are refused with the names there are', async () => {
    const error = await failure(temporaryFolder(), { method: { type: 'lora', targets: ['c_attn'] } });
    expect(error).toMatchObject({ code: 'ERR_CONFIG_INVALID', message: expect.stringMatching(/c_attn.*q_proj/) });
  });

  it('more last layers than there are', async () => {
    const error = await failure(temporaryFolder(), { method: { type: 'full', trainLastLayers: 7 } });
    expect(error).toMatchObject({ code: 'ERR_CONFIG_INVALID', message: expect.stringContaining('at most 2') });
  });
});
