import { describe, expect, it } from 'vitest';
import type { Api } from '../../lib/cli/api.js';
import { cli, evaluation, fakeModel } from './fake-context.js';

type LoadOptions = Parameters<Api['loadModel']>[0];

/** An api whose model notes how it was loaded and asked. */
function noting(parts: Parameters<typeof fakeModel>[0] = {}) {
  const notes: { load?: LoadOptions; prompts: unknown[]; options: object[]; disposed: number } = { prompts: [], options: [], disposed: 0 };
  const model = fakeModel({
    async *generate(prompt, options) {
      notes.prompts.push(structuredClone(prompt));
      notes.options.push(options);
      yield 'Hello';
      yield ' there';
    },
    [Symbol.asyncDispose]: async () => {
      notes.disposed++;
    },
    ...parts,
  });
  const api: Partial<Api> = {
    loadModel: async (options) => {
      notes.load = options;
      return model;
    },
  };
  return { api, notes };
}

describe('generate', () => {
  it('streams text to stdout, with the chat template where there is one', async () => {
    const { api, notes } = noting();
    const outcome = await cli(['generate', './model', 'How', 'are', 'you?', '--adapter', './a', '--temperature', '0.7', '--threads', '2'], {
      api,
    });
    expect(outcome).toMatchObject({ code: 0, stdout: 'Hello there\n', stderr: '' });
    expect(notes.load).toMatchObject({ path: './model', adapter: './a', threads: 2 });
    expect(notes.prompts).toEqual([[{ role: 'user', content: 'How are you?' }]]);
    expect(notes.options[0]).toMatchObject({ temperature: 0.7, topP: 1, topK: 0, maxNewTokens: 256, seed: 42 });
    expect(notes.disposed).toBe(1);
  });

  it('--raw, or a model without a template, continues the text as it is', async () => {
    const raw = noting();
    await cli(['generate', 'm', 'Once', '--raw'], { api: raw.api });
    const plain = noting({ hasChatTemplate: false });
    await cli(['generate', 'm', 'Once'], { api: plain.api });
    expect([...raw.notes.prompts, ...plain.notes.prompts]).toEqual(['Once', 'Once']);
  });

  it('reads the prompt from stdin, and answers in JSON', async () => {
    const { api, notes } = noting({ hasChatTemplate: false });
    const { stdout } = await cli(['generate', 'm', '--json'], { api, stdin: ['Once upon', ' a time\n'] });
    expect(notes.prompts).toEqual(['Once upon a time']);
    expect(JSON.parse(stdout)).toEqual({ prompt: 'Once upon a time', text: 'Hello there' });
  });

  it('--system without a template is refused', async () => {
    const { api } = noting({ hasChatTemplate: false });
    expect(await cli(['generate', 'm', 'x', '--system', 'Be kind'], { api })).toMatchObject({ code: 2, stdout: '' });
  });

  it('a signal aborts', async () => {
    let send: (signal: 'SIGINT') => void = () => undefined;
    const { api } = noting({
      async *generate(_prompt, { signal }) {
        yield 'He';
        send('SIGINT');
        signal?.throwIfAborted();
      },
    });
    const outcome = await cli(['generate', 'm', 'x'], {
      api,
      signals: (sender) => {
        send = sender;
      },
    });
    expect(outcome.code).toBe(130);
  });
});

describe('chat', () => {
  it('keeps the conversation until /reset, and ends with the input or /exit', async () => {
    const { api, notes } = noting();
    const outcome = await cli(['chat', 'm', '--system', 'Be kind'], {
      api,
      stdin: ['Hi\n', 'And you?\n/reset\nAgain\n', '/exit\nnever\n'],
    });
    expect(outcome).toMatchObject({ code: 0, stdout: 'Hello there\nHello there\nHello there\n' });
    const system = { role: 'system', content: 'Be kind' };
    const hi = { role: 'user', content: 'Hi' };
    expect(notes.prompts).toEqual([
      [system, hi],
      [system, hi, { role: 'assistant', content: 'Hello there' }, { role: 'user', content: 'And you?' }],
      [system, { role: 'user', content: 'Again' }],
    ]);
    expect(notes.disposed).toBe(1);
  });

  it('needs a chat template', async () => {
    const { api } = noting({ hasChatTemplate: false });
    const { code, stderr } = await cli(['chat', 'm'], { api });
    expect(code).toBe(2);
    expect(stderr).toContain('node-finetune generate');
  });
});

describe('eval, merge, inspect, doctor, demo', () => {
  it('eval prints loss and perplexity, as JSON with --json', async () => {
    const { api } = noting();
    expect(await cli(['eval', 'm', 'd'], { api })).toMatchObject({
      code: 0,
      stdout: `loss        1\nperplexity  ${Math.E}\ntokens      10\nexamples    2\ntruncated   0\n`,
      stderr: 'warning: odd\n',
    });
    expect(JSON.parse((await cli(['eval', 'm', 'd', '--json'], { api })).stdout)).toEqual(evaluation);
  });

  it('eval hands on its settings', async () => {
    let given: unknown[] = [];
    const { api } = noting({
      evaluate: async (...all) => {
        given = all;
        return evaluation;
      },
    });
    await cli(['eval', 'm', 'd.jsonl', '--logits', 'l.safetensors', '--max-length', '64', '--train-on', 'all', '--no-packing'], { api });
    expect(given).toMatchObject([
      'd.jsonl',
      { logits: 'l.safetensors', maxLength: 64, trainOn: 'all', packing: false, batchSize: 4, format: 'auto' },
    ]);
  });

  it('merge writes to out and prints where', async () => {
    let given: unknown[] = [];
    const { api, notes } = noting({
      merge: async (...all) => {
        given = all;
        return { out: 'merged', files: ['model.safetensors'], dtype: 'bf16', dequantizedFrom: 'q4_1', layers: [] };
      },
    });
    expect(await cli(['merge', 'm', 'a', '--out', 'merged', '--dtype', 'bf16'], { api })).toMatchObject({ code: 0, stdout: 'merged\n' });
    expect((await cli(['merge', 'm', 'a', '--out', 'merged', '--dtype', 'q4'], { api })).code).toBe(2);
    expect(given).toEqual(['merged', { dtype: 'bf16', overwrite: false }]);
    expect(notes.load).toMatchObject({ path: 'm', adapter: 'a' });
  });

  it('inspect data shows what is learned of one example', async () => {
    const inspection = {
      report: {
        format: 'messages',
        reason: 'the first row has the keys messages',
        rows: 1000,
        examples: 998,
        tokens: 20_000,
        labelTokens: 5_000,
        truncated: 3,
        dropped: Array.from({ length: 7 }, (_, row) => ({ row, reason: 'no assistant turn' })),
        lengthPercentiles: { p5: 4, p25: 10, p50: 20, p75: 30, p95: 60, max: 128 },
        eosTrained: true,
        warnings: ['3 rows are the same'],
      },
      sample: {
        row: 7,
        tokens: 12,
        segments: [
          { text: '<user>Hi<end>', learned: false },
          { text: 'Hello<end>', learned: true },
        ],
      },
    };
    let given: unknown;
    const inspectData = async (options: unknown) => {
      given = options;
      return inspection;
    };
    const args = ['inspect', 'data', 'd.jsonl', '--model', 'm', '--max-length', '128', '--index', '4'];
    const { code, stdout } = await cli(args, { api: { inspectData } });
    expect(code).toBe(0);
    expect(given).toMatchObject({ data: 'd.jsonl', model: 'm', maxLength: 128, index: 4, trainOn: 'completion' });
    await expect(stdout).toMatchFileSnapshot('golden/inspect-data.txt');
    expect(JSON.parse((await cli([...args, '--json'], { api: { inspectData } })).stdout)).toEqual(inspection);
  });

  it('doctor prints a report', async () => {
    const doctor = () => ({
      version: '1.2.3',
      node: '22.12.0',
      napi: '10',
      platform: 'linux-x64',
      libc: 'glibc 2.36',
      addon: 'prebuilds/linux-x64/node-finetune.node',
      instructionSet: 'avx2',
      threads: 2,
      totalMemoryBytes: 2 ** 33,
      freeMemoryBytes: 2 ** 32,
      devices: [
        { type: 'cpu', available: true, reason: 'kernels for avx2, 2 threads' },
        { type: 'cuda', available: false, reason: 'this build has no CUDA plugin' },
      ],
    });
    await expect((await cli(['doctor'], { api: { doctor } })).stdout).toMatchFileSnapshot('golden/doctor.txt');
    expect(JSON.parse((await cli(['doctor', '--json'], { api: { doctor } })).stdout)).toEqual(doctor());
  });

  it('demo writes to stdout', async () => {
    const demo = { runDemo: async ({ write }: { write(text: string): unknown }) => write('before, after\n') };
    expect(await cli(['demo'], { demo })).toMatchObject({ code: 0, stdout: 'before, after\n' });
  });
});
