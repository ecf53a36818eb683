import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { flagName } from '../../lib/cli/flags.js';
import { listFields } from '../../lib/config/fields.js';
import { trainJsonSchemaText } from '../../lib/config/json-schema.js';
import { jsonSchemaOf } from '../../lib/config/resolve.js';
import { trainConfigSchema } from '../../lib/config/schema.js';
import { packageVersion } from '../../lib/version.js';
import { cli } from './fake-context.js';

describe('help', () => {
  it.each([
    [],
    ['train'],
    ['plan'],
    ['inspect'],
    ['inspect', 'model'],
    ['inspect', 'data'],
    ['generate'],
    ['chat'],
    ['eval'],
    ['merge'],
    ['doctor'],
    ['demo'],
    ['schema'],
  ])('%s %s: on stdout, exit code 0, as recorded', async (...words) => {
    const { code, stdout, stderr } = await cli([...words, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await expect(stdout).toMatchFileSnapshot(`golden/${['help', ...words].join('-')}.txt`);
  });

  it('--version is that of package.json', async () => {
    expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: `${packageVersion}\n`, stderr: '' });
    expect(packageVersion).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('no command shows the commands as a usage error', async () => {
    const { code, stdout, stderr } = await cli([]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('Commands:');
  });

  it('schema prints schema.json, and docs/settings.md (npm run generate:schema)', async () => {
    expect(await cli(['schema'])).toMatchObject({ code: 0, stdout: trainJsonSchemaText() });
    expect(await cli(['schema', '--markdown'])).toMatchObject({ code: 0, stdout: readFileSync('docs/settings.md', 'utf8') });
  });
});

describe('flags', () => {
  const schema = jsonSchemaOf(trainConfigSchema);
  const names = listFields(schema).map(({ path }) => flagName(path, schema));

  it('every setting of a run has one, all different', () => {
    expect(new Set(names).size).toBe(names.length);
  });

  it('are named by rule', () => {
    for (const [path, name] of [
      ['learningRate', 'learning-rate'],
      ['method.type', 'method'],
      ['method.rank', 'rank'],
      ['method.dtype', 'method-dtype'],
      ['optimizer.beta1', 'beta1'],
      ['schedule.warmupSteps', 'warmup-steps'],
      ['checkpoint.everySteps', 'checkpoint-every-steps'],
      ['evaluation.everySteps', 'evaluation-every-steps'],
    ] as const) {
      expect(flagName(path.split('.'), schema)).toBe(name);
    }
  });

  it('each reaches its setting', async () => {
    const args = [
      '--rank',
      '8',
      '--targets',
      'q_proj,v_proj',
      '--use-rslora',
      '--no-packing',
      '--warmup-ratio',
      '0.1',
      '--checkpoint-keep',
      '3',
      '--resume',
      '--beta1=0.8',
    ];
    const { stdout } = await cli(['train', 'm', 'd', '--out', 'o', ...args, '--print-config', '--json']);
    const settings = JSON.parse(stdout) as Record<string, { value: unknown; origin: string }>;
    expect(settings).toMatchObject({
      'method.rank': { value: 8, origin: '--rank' },
      'method.targets': { value: ['q_proj', 'v_proj'], origin: '--targets' },
      'method.useRslora': { value: true, origin: '--use-rslora' },
      packing: { value: false, origin: '--no-packing' },
      'schedule.warmupRatio': { value: 0.1 },
      'checkpoint.keep': { value: 3 },
      resume: { value: true },
      'optimizer.beta1': { value: 0.8 },
      data: { value: 'd', origin: 'argument data' },
    });
  });
});
