import { mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig, readConfigFile } from '../../lib/config/file.js';
import { resolveLayers } from '../../lib/config/resolve.js';
import { FinetuneError } from '../../lib/native/errors.js';

function errorOf(f: () => unknown): FinetuneError {
  try {
    f();
  } catch (error) {
    if (error instanceof FinetuneError) return error;
    throw error;
  }
  throw new Error('wanted an error');
}

const folder = mkdtempSync(join(tmpdir(), 'config-'));

describe('configuration files', () => {
  it('gives the line and column of every problem, all at once', () => {
    const text = [
      'model: m',
      'data: d',
      'out: o',
      'metod: full',
      'method:',
      '  rank: 0',
      '  rnk: 8',
      'schedule: {type: cosin, warmupSteps: -1}',
      'batchSize: many',
      '',
    ].join('\n');
    const error = errorOf(() => resolveLayers([parseConfig(text, 'run.yaml')]));
    expect(error.code).toBe('ERR_CONFIG_INVALID');
    expect(error.exitCode).toBe(2);
    expect(error.message.split('\n').slice(1).sort()).toEqual([
      '  run.yaml:4:1: metod: unknown setting; did you mean method?',
      '  run.yaml:6:9: method.rank: wanted an integer from 1 to 4096, got 0',
      '  run.yaml:7:3: method.rnk: unknown setting of method; did you mean rank?',
      '  run.yaml:8:18: schedule.type: wanted one of constant, linear, cosine, got "cosin"; did you mean cosine?',
      '  run.yaml:8:38: schedule.warmupSteps: wanted an integer of at least 0, got -1',
      '  run.yaml:9:12: batchSize: wanted an integer of at least 1, got "many"',
    ]);
    const problems = error.details['problems'] as { path: string; line: number; column: number }[];
    expect(problems.find(({ path }) => path === 'method.rank')).toMatchObject({ file: 'run.yaml', line: 6, column: 9 });
  });

  it('reads JSON with positions too', () => {
    const error = errorOf(() =>
      resolveLayers([parseConfig('{\n  "model": "m",\n  "data": "d",\n  "out": "o",\n  "epochs": 0\n}', 'run.json')]),
    );
    expect(error.message).toBe('run.json:5:13: epochs: wanted an integer of at least 1, got 0');
  });

  it('combinations are refused beside bad values', () => {
    const error = errorOf(() =>
      resolveLayers([parseConfig('batchSize: 0\nmethod: {type: full}\noptimizer: {type: lomo}\nmaxGradNorm: 1\n', 'run.yaml')]),
    );
    expect(error.message).toContain('batchSize: wanted an integer of at least 1, got 0');
    expect(error.message).toMatch(/run.yaml:4:14: maxGradNorm: .*optimizer.clipValue/);
    expect(error.message).toContain('model: is required');
  });

  it.each([
    ['unclosed flow', 'model: m\nmethod: {type: lora', 2],
    ['tab indent', 'model: m\nmethod:\n\trank: 8\n', 3],
    ['duplicate key', 'model: m\nmodel: n\n', 2],
    ['a list', '- model\n', 1],
    ['a scalar', 'model\n', 1],
  ])('%s: the line of the syntax error', (_, text, line) => {
    const error = errorOf(() => parseConfig(text, 'run.yaml'));
    expect(error.code).toBe('ERR_CONFIG_INVALID');
    expect(error.details['line']).toBe(line);
    expect(error.message).toMatch(new RegExp(`^run.yaml:${line}:\\d+: `));
  });

  it('an empty file has no settings', () => {
    expect(parseConfig('', 'run.yaml').value).toEqual({});
  });

  it('refuses alias bombs', () => {
    const lines = [
      'a0: &a0 [x,x,x,x,x,x,x,x,x,x]',
      ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]`),
    ];
    expect(errorOf(() => parseConfig(lines.join('\n'), 'run.yaml')).code).toBe('ERR_CONFIG_INVALID');
  });

  it('says what is wrong with a missing or huge file', () => {
    const missing = errorOf(() => readConfigFile(join(folder, 'none.yaml')));
    expect(missing.code).toBe('ERR_FILE');
    expect(missing.message).toMatch(/none\.yaml does not exist/);
    expect(errorOf(() => readConfigFile(folder)).code).toBe('ERR_FILE');
    const huge = join(folder, 'model.gguf');
    writeFileSync(huge, '');
    truncateSync(huge, 2 ** 34);
    expect(errorOf(() => readConfigFile(huge)).message).toMatch(/right file/);
  });
});
