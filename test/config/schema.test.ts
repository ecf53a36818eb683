import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { resolveDefaults } from '../../lib/config/defaults.js';
import { listFields } from '../../lib/config/fields.js';
import { trainJsonSchema, trainJsonSchemaText } from '../../lib/config/json-schema.js';
import { resolveConfig, resolvePlanConfig } from '../../lib/config/resolve.js';
import { planConfigSchema, type TrainConfigInput } from '../../lib/config/schema.js';
import { learningRateTable } from '../../lib/optimizers/index.js';

const required = { model: 'm', data: 'd', out: 'o' };

describe('schema', () => {
  it('schema.json is the generated one (npm run generate:schema)', () => {
    expect(readFileSync('schema.json', 'utf8')).toBe(trainJsonSchemaText());
  });

  it('every setting has a help text of one line', () => {
    const fields = listFields(trainJsonSchema());
    expect(fields.length).toBeGreaterThan(50);
    for (const { path, description } of fields) {
      expect(description, path.join('.')).toMatch(/^\S.{5,160}[^.]$/);
    }
  });

  it('accepts its own defaults again', () => {
    const defaults = planConfigSchema.parse({ model: 'm' });
    expect(planConfigSchema.parse(defaults)).toEqual(defaults);
  });
});

describe('defaults', () => {
  it('of a LoRA run', () => {
    expect(resolveConfig(required)).toMatchObject({
      method: { type: 'lora', rank: 16, alpha: 32, targets: 'all-linear' },
      optimizer: { type: 'adamw', weightDecay: 0.01, stateDtype: 'f32' },
      learningRate: 2e-4,
      epochs: 1,
      batchSize: 4,
      maxLength: 1024,
      maxGradNorm: 1,
      fused: false,
      seed: 42,
    });
  });

  it('the learning rate depends on method and optimizer, and an explicit one stays', () => {
    const rate = (settings: Partial<TrainConfigInput>) => resolveConfig({ ...required, ...settings }).learningRate;
    const full = { type: 'full' } as const;
    for (const { method, optimizer, value } of learningRateTable())
      expect(rate({ method: { type: method }, optimizer: { type: optimizer } } as Partial<TrainConfigInput>)).toBe(value);
    expect(rate({})).toBe(2e-4);
    expect(rate({ method: full })).toBe(2e-5);
    expect(rate({ method: full, optimizer: { type: 'sgd', fused: true } })).toBe(rate({ method: full, optimizer: { type: 'lomo' } }));
    expect(rate({ method: full, optimizer: { type: 'lomo' }, learningRate: 1e-3 })).toBe(1e-3);
  });

  it('clipping is on at 1, off when fused, off by 0', () => {
    expect(resolveConfig(required).maxGradNorm).toBe(1);
    expect(resolveConfig({ ...required, maxGradNorm: 0 })).not.toHaveProperty('maxGradNorm');
    expect(resolveConfig({ ...required, optimizer: { type: 'adamw', fused: true } })).toMatchObject({ fused: true });
    expect(resolveConfig({ ...required, optimizer: { type: 'adamw', fused: true } })).not.toHaveProperty('maxGradNorm');
  });

  it('maxSteps replaces epochs', () => {
    const config = resolveConfig({ ...required, maxSteps: 7 });
    expect(config.maxSteps).toBe(7);
    expect(config).not.toHaveProperty('epochs');
  });

  it('trained weights are stored in dtype unless said otherwise', () => {
    const full = (method: object) => resolvePlanConfig({ model: 'm', dtype: 'bf16', method: { type: 'full', ...method } }).method;
    expect(full({})).toMatchObject({ dtype: 'bf16' });
    expect(full({ dtype: 'f32' })).toMatchObject({ dtype: 'f32' });
  });

  it('sizes become bytes', () => {
    expect(resolvePlanConfig({ model: 'm', memoryLimit: '8GiB' }).memoryLimit).toBe(8 * 2 ** 30);
    expect(resolvePlanConfig({ model: 'm', memoryLimit: 4096 }).memoryLimit).toBe(4096);
  });

  it('does not change what it is given', () => {
    const parsed = planConfigSchema.parse({ model: 'm' });
    const before = structuredClone(parsed);
    resolveDefaults(parsed);
    expect(parsed).toEqual(before);
  });
});
