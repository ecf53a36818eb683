import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TrainEvent } from '../../lib/trainer/events.js';
import { hasShared, sharedPath } from '../shared.js';

const main = resolve(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'cli-'));
const model = sharedPath('models', 'stories260K');
const data = join(folder, 'data.jsonl');
const environment = { ...process.env, NODE_FINETUNE_CACHE: join(folder, 'cache') };

function run(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder, env: environment });
}

const events = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as TrainEvent);

describe.skipIf(!hasShared)('the installed program on a real model', () => {
  beforeAll(() => {
    if (!existsSync(main)) throw new Error('dist is missing: npm run build:ts');
    const rows = Array.from({ length: 32 }, (_, i) => ({
      text: `Once upon a time there was a cat named Tom, who was ${i} years old and loved fish.`,
    }));
    writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  });

  it('trains, evaluates and generates with the adapter', () => {
    const losses = (...adapter: string[]) =>
      JSON.parse(run('eval', model, data, '--max-length', '64', '--json', ...adapter).stdout) as { loss: number };
    const trained = run('train', model, data, '--out', 'adapter', '--max-length', '64', '--max-steps', '8');
    expect({ status: trained.status, stdout: trained.stdout }).toEqual({ status: 0, stdout: 'adapter\n' });
    expect(trained.stderr).toMatch(/step 8\/8 {2}loss/);
    expect(losses('--adapter', 'adapter').loss).toBeLessThan(losses().loss);

    const text = run('generate', model, 'Once upon a time', '--adapter', 'adapter', '--max-new-tokens', '4');
    expect(text.status).toBe(0);
    expect(text.stdout.length).toBeGreaterThan(4);

    const again = run('train', model, data, '--out', 'adapter', '--max-steps', '1');
    expect({ status: again.status, stdout: again.stdout }).toEqual({ status: 2, stdout: '' });
    expect(again.stderr).toContain('[ERR_FILE]');
  });

  it('stops at SIGINT with a checkpoint, and the printed command goes on to the end', async () => {
    const args = ['train', model, data, '--out', 'stopped', '--max-length', '64', '--max-steps', '60', '--json'];
    const child = spawn(process.execPath, [main, ...args], { cwd: folder, env: environment });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!stdout.includes('"type":"step"') && text.includes('"type":"step"')) child.kill('SIGINT');
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise((done) => child.on('close', done));
    expect(code).toBe(130);
    const first = events(stdout);
    expect(first[0]?.type).toBe('start');
    expect(first.at(-1)).toMatchObject({ type: 'done', result: { status: 'stopped' } });
    const stoppedAt = first.filter((event) => event.type === 'step').length;
    expect(stoppedAt).toBeLessThan(60);

    const command = /Continue with: node-finetune (.*)/.exec(stderr)?.[1]?.split(' ') ?? [];
    const second = events(run(...command).stdout);
    expect(second[0]).toMatchObject({ type: 'start', startStep: stoppedAt });
    expect(second.at(-1)).toMatchObject({ type: 'done', result: { status: 'completed', steps: 60 } });
    expect(existsSync(join(folder, 'stopped', 'adapter_model.safetensors'))).toBe(true);
  });

  it('plans without weights', () => {
    const { status, stdout } = run('plan', join(model, 'config.json'), '--method', 'full', '--optimizer', 'lomo', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ fused: true, bytes: { gradients: 0, optimizer: 0 } });
  });
});
