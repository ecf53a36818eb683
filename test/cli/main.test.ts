import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { trainJsonSchemaText } from '../../lib/config/json-schema.js';
import { packageVersion } from '../../lib/version.js';

const main = resolve(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');

function run(...args: string[]) {
  // Without an addon: what needs none must not try to load one.
  const environment = { ...process.env, NODE_FINETUNE_PREBUILD: '/nonexistent', NODE_OPTIONS: '' };
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: environment });
  return { status, stdout, stderr };
}

describe('the installed program', () => {
  beforeAll(() => {
    if (!existsSync(main)) throw new Error('dist is missing: npm run build:ts');
  });

  it('prints version, help and schema without the addon', () => {
    expect(run('--version')).toEqual({ status: 0, stdout: `${packageVersion}\n`, stderr: '' });
    expect(run('train', '--help')).toMatchObject({ status: 0, stderr: '' });
    expect(run('schema')).toEqual({ status: 0, stdout: trainJsonSchemaText(), stderr: '' });
  });

  it('exits with 2 on bad usage, with nothing on stdout', () => {
    expect(run('train', '--btch-size', '3')).toEqual({
      status: 2,
      stdout: '',
      stderr: 'error: unknown option --btch-size; did you mean --batch-size? See node-finetune train --help\n',
    });
    expect(run('train', 'm')).toMatchObject({ status: 2, stdout: '' });
  });

  it.skipIf(process.platform === 'win32')('a reader that goes away is no error', () => {
    const command = 'set -o pipefail; "$0" "$1" schema | true';
    const { status, stderr } = spawnSync('bash', ['-c', command, process.execPath, main], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});
