import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readModelConfig } from '../../lib/models/index.js';
import { fixtureNames, fixturePath, readExpected, readJson } from './fixture.js';

const windows: Record<string, number[]> = {
  'mistral-window': [8, 8],
  qwen2: [0, 0],
  'qwen2-window': [0, 6],
  phi3: [9],
  gemma2: [7, 0, 7, 0],
  gemma3: [6, 6, 0, 6],
};

describe.each(fixtureNames)('config of %s', (name) => {
  const config = readModelConfig(readJson(fixturePath(name), 'config.json'));

  test('rotary frequencies equal those of transformers bit for bit', () => {
    const { default: only, full_attention: global, sliding_attention: local } = readExpected(name).inverseFrequencies;
    const want = only ? [only] : [global, local];
    expect(config.ropes.map((r) => [...r.inverseFrequencies])).toEqual(want.map((f) => [...Float32Array.from(f as number[])]));
  });

  test('windows are on the layers that have them', () => {
    expect(config.layers.map((l) => l.window)).toEqual(windows[name] ?? config.layers.map(() => 0));
  });

  test('the spelling of transformers 5 says the same', () => {
    expect(readModelConfig(readJson(join(fixturePath(name), 'config.v5.json')))).toEqual(config);
  });
});
