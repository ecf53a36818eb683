import { describe, expect, it } from 'vitest';
import { type ErrorCode, errorCodes, FinetuneError } from '../../lib/native/errors.js';
import { cli } from './fake-context.js';

describe('usage errors: exit code 2, on stderr, with what was probably meant', () => {
  it.each([
    [['train', '--btch-size', '3'], 'unknown option --btch-size; did you mean --batch-size? See node-finetune train --help'],
    [['train', '--lora-rank=3'], 'unknown option --lora-rank=3; did you mean --rank? See node-finetune train --help'],
    [['train', '--learning_rate', '3'], 'unknown option --learning_rate; did you mean --learning-rate? See node-finetune train --help'],
    [['train', '--tokenizer', 'x'], 'unknown option --tokenizer. See node-finetune train --help'],
    [['trian'], 'unknown command trian; did you mean train? See node-finetune --help'],
    [['inspect', 'modl', 'x'], 'unknown command modl; did you mean model? See node-finetune inspect --help'],
    [['frobnicate'], 'unknown command frobnicate. See node-finetune --help'],
    [['train', '--batch-size'], "option '--batch-size <n>' argument missing. See node-finetune train --help"],
    [['generate'], "missing required argument 'model'. See node-finetune generate --help"],
    [['merge', 'm', 'a'], "required option '-o, --out <dir>' not specified. See node-finetune merge --help"],
    [['train', 'm', 'd', 'x'], /^too many arguments/],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await cli(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    if (typeof message === 'string') expect(stderr).toBe(`error: ${message}\n`);
    else expect(stderr.replace(/^error: /, '')).toMatch(message);
  });

  it('all bad settings at once, each with the flag it came from', async () => {
    const { code, stderr } = await cli(['train', 'm', '--rank', '0', '--set', 'methd.rank=3', '--batch-size', 'x', '--method', 'lora'], {
      environment: { NODE_FINETUNE_THREADS: 'many' },
    });
    expect(code).toBe(2);
    expect(stderr.split('\n')).toEqual([
      'error: The configuration has 6 problems:',
      '  data: is required: Training data: a JSONL or plain text file',
      '  out: is required: Folder for the result: an adapter (lora) or a model (full)',
      '  --rank: method.rank: wanted an integer from 1 to 4096, got 0',
      '  --batch-size: batchSize: wanted an integer of at least 1, got "x"',
      '  NODE_FINETUNE_THREADS: threads: wanted an integer from 1 to 1024, got "many"',
      '  --set methd.rank=3: methd: unknown setting; did you mean method? [ERR_CONFIG_INVALID]',
      '',
    ]);
  });

  it.each([['rank'], ['=3']])('--set %s is no key=value', async (text) => {
    expect((await cli(['train', '--set', text])).stderr).toContain('wanted key=value');
  });

  it('out-of-range sampling is refused before the model is loaded', async () => {
    const { code, stderr } = await cli(['generate', 'm', 'hi', '--temperature', '-1', '--top-p', '2']);
    expect(code).toBe(2);
    expect(stderr).toContain('--temperature: temperature: wanted a number from 0 to 100, got -1');
    expect(stderr).toContain('--top-p: topP: wanted a number above 0 and at most 1, got 2');
  });
});

describe('errors of the library', () => {
  it.each(Object.entries(errorCodes) as [ErrorCode, number][])('%s exits with %d', async (code, exitCode) => {
    const doctor = () => {
      throw new FinetuneError(code, 'what happened');
    };
    expect(await cli(['doctor'], { api: { doctor } })).toEqual({
      code: exitCode,
      stdout: '',
      stderr: `error: what happened [${code}]\n`,
      exits: [],
    });
  });

  it('an abort exits with 130, any other error with 1', async () => {
    const throwing = (error: Error) => ({
      api: {
        doctor: () => {
          throw error;
        },
      },
    });
    expect((await cli(['doctor'], throwing(new DOMException('stop', 'AbortError')))).code).toBe(130);
    expect(await cli(['doctor'], throwing(new TypeError('oops')))).toMatchObject({ code: 1, stderr: 'error: oops\n' });
  });

  it('with --json the error is also the last line on stdout', async () => {
    const { stdout } = await cli(['train', 'm', 'd', '--out', 'o', '--json', '--epochs', '0']);
    expect(JSON.parse(stdout)).toMatchObject({
      type: 'error',
      code: 'ERR_CONFIG_INVALID',
      exitCode: 2,
      details: { problems: [{ path: 'epochs', origin: '--epochs' }] },
    });
  });
});

describe('colours', () => {
  const bad = ['trian'];
  const red = '\u001b[31merror:';

  it('on a terminal only, unless forced or refused', async () => {
    expect((await cli(bad)).stderr).not.toContain('\u001b');
    expect((await cli(bad, { tty: true })).stderr).toContain(red);
    expect((await cli(bad, { tty: true, environment: { NO_COLOR: '1' } })).stderr).not.toContain('\u001b');
    expect((await cli(bad, { tty: true, environment: { TERM: 'dumb' } })).stderr).not.toContain('\u001b');
    expect((await cli(bad, { environment: { FORCE_COLOR: '1' } })).stderr).toContain(red);
    expect((await cli(bad, { tty: true, environment: { FORCE_COLOR: '0' } })).stderr).not.toContain('\u001b');
    expect((await cli(['--no-color', ...bad], { tty: true })).stderr).not.toContain('\u001b');
  });
});
