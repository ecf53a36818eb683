import { describe, expect, it } from 'vitest';
import { importScript } from './import-script.js';

interface Floor {
  flops: number;
  movedBytes: number;
  heldBytes: number;
}

const { countWeights, floorTokensPerSecond, stepFloor } = await importScript<{
  countWeights(config: object, rank?: number): Record<'body' | 'head' | 'lora' | 'all' | 'activations', number>;
  stepFloor(config: object, options: object): Floor;
  floorTokensPerSecond(floor: Floor, tokens: number, rates: { flopsPerSecond: number; bytesPerSecond: number }): number;
}>('floor.mjs');
const { smolLm2Config } = await importScript<{ smolLm2Config(layers?: number): object }>('smollm2-shape.mjs');
const config = smolLm2Config();

describe('countWeights', () => {
  it('counts SmolLM2-135M and its LoRA of rank 16', () => {
    const { body, head, lora, all } = countWeights(config);
    expect(body + head).toBe(134_479_872);
    expect(all).toBe(134_515_008);
    expect(lora).toBe(4_884_480);
  });
});

describe('stepFloor', () => {
  // Worked out apart from this code for SmolLM2-135M: GFLOP, GB moved, MiB held.
  it.each([
    ['lora', 'f32', 4, 256, false, 608.0, 2.69, 1287],
    ['lora', 'bf16', 4, 256, false, 608.0, 1.44, 693],
    ['lora', 'bf16', 4, 256, true, 844.5, 1.02, 400],
    ['adamw', 'bf16', 4, 256, false, 853.4, 3.4, 1388],
    ['adamw', 'f32', 4, 256, true, 1079.9, 5.95, 2167],
    ['lomo', 'bf16', 4, 256, false, 853.4, 1.78, 672],
    ['lora', 'bf16', 1, 512, false, 317.6, 1.09, 524],
    ['lora', 'bf16', 1, 512, true, 440.4, 0.98, 378],
    ['adamw', 'bf16', 1, 512, false, 440.3, 3.04, 1219],
    ['lomo', 'bf16', 1, 512, true, 558.1, 1.32, 357],
  ])('%s in %s, %d x %d, checkpointing %s', (method, dtype, batch, length, checkpointing, gflop, gbyte, mib) => {
    const { flops, movedBytes, heldBytes } = stepFloor(config, { method, dtype, batch, length, checkpointing });
    expect(flops / 1e9).toBeCloseTo(gflop, 1);
    expect(movedBytes / 1e9).toBeCloseTo(gbyte, 2);
    expect(Math.round(heldBytes / 2 ** 20)).toBe(mib);
  });

  it('counts the head for label tokens only', () => {
    const work = { method: 'lora', dtype: 'bf16', batch: 4, length: 256 };
    const { head } = countWeights(config);
    const saved = stepFloor(config, work).flops - stepFloor(config, { ...work, labels: 0.5 }).flops;
    expect(saved).toBe(4 * head * 0.5 * 1024);
  });
});

describe('floorTokensPerSecond', () => {
  const floor = { flops: 8e9, movedBytes: 1e9, heldBytes: 0 };
  it('is that of the slower of arithmetic and memory', () => {
    expect(floorTokensPerSecond(floor, 100, { flopsPerSecond: 4e9, bytesPerSecond: 1e9 })).toBe(50);
    expect(floorTokensPerSecond(floor, 100, { flopsPerSecond: 4e9, bytesPerSecond: 0.25e9 })).toBe(25);
  });
});
