import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { fixturePath } from '../parity/fixture.js';
import { temporaryFolder, writeTokenRows } from '../trainer/training.js';

const main = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');

interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

const offloadFlags = ['weights', 'gradients', 'optimizer', 'activations'].map((part) => `--offload-${part}`);

/** Starts `node-finetune train` on a tiny model; calls onEvent with every NDJSON line. */
function startTraining(folder: string, flags: string[], onEvent: (event: { type: string; step?: number }, child: ChildProcess) => void) {
  const args = [
    main,
    'train',
    fixturePath('smollm2'),
    writeTokenRows(folder),
    '--out',
    join(folder, 'out'),
    '--json',
    '--max-length',
    '32',
  ];
  const child = spawn(process.execPath, [...args, '--batch-size', '1', '--cache-dir', join(folder, 'cache'), ...flags]);
  let stdout = '';
  let stderr = '';
  let pending = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk;
    const lines = (pending + chunk).split('\n');
    pending = lines.pop() ?? '';
    for (const line of lines) onEvent(JSON.parse(line), child);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  return new Promise<Finished>((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })));
}

const events = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe.skipIf(!existsSync(main))('node-finetune train as a process', () => {
  it('SIGINT finishes the step, writes a checkpoint, prints the command that resumes, and that command does', async () => {
    const folder = temporaryFolder();
    let sent = false;
    const stopped = await startTraining(folder, ['--max-steps', '100000'], (event, child) => {
      if (event.type !== 'step' || sent) return;
      sent = true;
      child.kill('SIGINT');
    });
    expect(stopped).toMatchObject({ code: 130, signal: null });
    const { result } = events(stopped.stdout).at(-1);
    expect(result.status).toBe('stopped');
    expect(existsSync(join(result.checkpoint, 'trainer_state.json'))).toBe(true);
    expect(stopped.stderr).toMatch(/--resume/);
    expect(existsSync(join(folder, 'out', 'adapter_config.json'))).toBe(false);

    const resumed = await startTraining(folder, ['--max-steps', String(result.steps + 3), '--resume'], () => {});
    expect(resumed).toMatchObject({ code: 0 });
    const [start, firstStep] = events(resumed.stdout);
    expect(start.startStep).toBe(result.steps);
    expect(firstStep.step).toBe(result.steps + 1);
    expect(existsSync(join(folder, 'out', 'adapter_config.json'))).toBe(true);
  });

  it.each<[string, string[], number[]]>([
    ['in memory', [], [0, 1, 3, 7, 12]],
    ['in scratch files', ['--method', 'full', '--checkpointing', 'block', ...offloadFlags], [0, 5]],
  ])('kill -9 at any moment loses no finished checkpoint: %s', async (_name, settings, delays) => {
    const folder = temporaryFolder();
    const flags = ['--max-steps', '100000', '--set', 'checkpoint.everySteps=1', '--set', 'checkpoint.keep=3', ...settings];
    let last = 0;
    for (const delayMs of delays) {
      let reached = 0;
      const killed = await startTraining(folder, last > 0 ? [...flags, '--resume'] : flags, (event, child) => {
        if (event.type !== 'checkpoint') return;
        reached = event.step as number;
        if (reached === last + 4) void setTimeout(delayMs).then(() => child.kill('SIGKILL'));
      });
      expect(killed.signal).toBe('SIGKILL');
      const names = readdirSync(join(folder, 'out', 'checkpoints')).filter((name) => name.startsWith('checkpoint-'));
      const newest = Math.max(...names.map((name) => Number(name.slice('checkpoint-'.length))));
      expect(newest).toBeGreaterThanOrEqual(reached);
      // Scratch files have no name that could be left behind.
      expect(readdirSync(join(folder, 'out'))).toEqual(['checkpoints']);
      last = newest;
    }
    // Every one that is there can be resumed from.
    for (const name of readdirSync(join(folder, 'out', 'checkpoints')).filter((n) => n.startsWith('checkpoint-'))) {
      const step = Number(name.slice('checkpoint-'.length));
      const flagsOfOne = ['--max-steps', String(step + 1), ...settings, '--resume', join(folder, 'out', 'checkpoints', name)];
      const resumed = await startTraining(folder, flagsOfOne, () => {});
      expect(resumed.code, resumed.stderr).toBe(0);
    }
    // What was half-written when the process died is cleared away.
    expect(readdirSync(join(folder, 'out', 'checkpoints')).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});
