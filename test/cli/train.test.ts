import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { visibleLength } from '../../lib/cli/table.js';
import { parseConfig } from '../../lib/config/file.js';
import { resolveLayers } from '../../lib/config/resolve.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { FinetuneError } from '../../lib/native/errors.js';
import type { TrainResult } from '../../lib/trainer/events.js';
import { cli, events, fakeRun, report, result, stepEvent } from './fake-context.js';

const args = ['train', './model', './data.jsonl', '--out', './adapter'];

describe('train', () => {
  it('hands what was asked for to the library, and nothing else', async () => {
    let given: TrainConfigInput | undefined;
    const train = (config: TrainConfigInput) => {
      given = config;
      return fakeRun(events);
    };
    const { code } = await cli([...args, '--rank', '8', '--set', 'schedule.type=cosine'], { api: { train } });
    expect(code).toBe(0);
    expect(given).toEqual({
      model: './model',
      data: './data.jsonl',
      out: './adapter',
      method: { type: 'lora', rank: 8 },
      schedule: { type: 'cosine' },
    });
  });

  it('prints plain lines on stderr and the path of the result on stdout', async () => {
    const { code, stdout, stderr } = await cli(args, { api: { train: () => fakeRun(events) } });
    expect({ code, stdout }).toEqual({ code: 0, stdout: './adapter\n' });
    await expect(stderr).toMatchFileSnapshot('golden/train-plain.txt');
  });

  it('--json: nothing but one JSON document a line on stdout, the events in order', async () => {
    const { code, stdout, stderr } = await cli([...args, '--json'], { api: { train: () => fakeRun(events) } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(events);
  });

  it('on a terminal the step line is redrawn and stays within the width', async () => {
    const { stderr } = await cli(args, { api: { train: () => fakeRun(events) }, tty: true });
    expect(stderr).toContain('\r\u001b[2Kstep 2/2  loss 1.0000');
    const redrawn = stderr.split('\r\u001b[2K').map((line) => line.split('\n')[0] ?? '');
    expect(redrawn.length).toBeGreaterThan(2);
    for (const line of redrawn.slice(1)) expect(visibleLength(line)).toBeLessThan(100);
    expect((await cli(args, { api: { train: () => fakeRun(events) }, tty: true, environment: { CI: 'true' } })).stderr).not.toContain('\r');
  });

  it('reports the error of a run that fails', async () => {
    const failed = Promise.reject<TrainResult>(new FinetuneError('ERR_NONFINITE_LOSS', 'step 2: the loss is NaN'));
    const { code, stderr } = await cli(args, { api: { train: () => fakeRun([stepEvent(1, 2)], { end: failed }) } });
    expect(code).toBe(1);
    expect(stderr).toContain('error: step 2: the loss is NaN [ERR_NONFINITE_LOSS]');
  });
});

describe('signals', () => {
  async function interrupted(signals: ('SIGINT' | 'SIGTERM')[], words = args) {
    let send: (signal: 'SIGINT' | 'SIGTERM') => void = () => undefined;
    let stops = 0;
    const stopped: TrainResult = { ...result, status: 'stopped', steps: 1, checkpoint: './adapter/checkpoints/step-1' };
    const run = fakeRun([stepEvent(1, 10)], {
      end: Promise.resolve(stopped),
      onStop: () => stops++,
      pause: async () => signals.forEach((signal) => send(signal)),
    });
    const outcome = await cli(words, {
      api: { train: () => run },
      signals: (sender) => {
        send = sender;
      },
    });
    return { ...outcome, stops };
  }

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s stops after the step, prints how to go on, exits with %d', async (signal, exitCode) => {
    const { code, stdout, stderr, stops, exits } = await interrupted([signal]);
    expect({ code, stdout, stops, exits }).toEqual({ code: exitCode, stdout: '', stops: 1, exits: [] });
    expect(stderr).toContain('Continue with: node-finetune train ./model ./data.jsonl --out ./adapter --resume\n');
  });

  it('a second signal ends at once', async () => {
    const { stops, exits } = await interrupted(['SIGINT', 'SIGINT']);
    expect({ stops, exits }).toEqual({ stops: 1, exits: [130] });
  });

  it('the command to go on has no second --resume and is quoted for the shell', async () => {
    const words = ['train', './my model', "it's.jsonl", '--out', 'o', '--resume', './old', '--rank', '8'];
    expect((await interrupted(['SIGINT'], words)).stderr).toContain(
      `Continue with: node-finetune train './my model' 'it'\\''s.jsonl' --out o --rank 8 --resume\n`,
    );
    expect((await interrupted(['SIGINT'], [...args, '--resume=./old'])).stderr).toContain('--out ./adapter --resume\n');
  });
});

describe('--print-config', () => {
  it('prints YAML that gives the same run again, with the origin of each value', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'print-')), 'run.yaml');
    writeFileSync(file, 'method:\n  type: full\noptimizer:\n  type: lomo\nmemoryLimit: 2GiB\nmaxGradNorm: 0\nvalidationSplit: 0.1\n');
    const { code, stdout } = await cli([...args, '--config', file, '--dtype', 'bf16', '--no-shuffle', '--print-config']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model: .\/model +# argument model$/m);
    expect(stdout).toMatch(/^dtype: bf16 +# --dtype$/m);
    expect(stdout).toMatch(/^shuffle: false +# --no-shuffle$/m);
    expect(stdout).toMatch(/^memoryLimit: "2GiB" +# .*run.yaml:5:14$/m);
    expect(stdout).toMatch(/^ {2}type: lomo +# .*run.yaml:4:9$/m);
    expect(stdout).toMatch(/^seed: 42 +# default$/m);

    const again = resolveLayers([parseConfig(stdout, 'printed.yaml')]).config;
    expect(again).toMatchObject({
      dtype: 'bf16',
      shuffle: false,
      memoryLimit: 2 ** 31,
      fused: true,
      optimizer: { type: 'lomo' },
      method: { type: 'full', dtype: 'bf16' },
    });
    expect(again).not.toHaveProperty('maxGradNorm');
  });
});

describe('--dry-run', () => {
  it('prints the plan and does not train', async () => {
    const { code, stdout } = await cli([...args, '--dry-run'], { api: { plan: () => report } });
    expect(code).toBe(0);
    expect(stdout).toContain('total');
    expect(JSON.parse((await cli([...args, '--dry-run', '--json'], { api: { plan: () => report } })).stdout)).toEqual(report);
  });
});
