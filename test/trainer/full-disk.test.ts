import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { smallRun, temporaryFolder, trainHere } from './training.js';

/** Mounts a file system of `kib` KiB; undefined where the process may not (it has to be root on Linux). */
function smallDisk(folder: string, options: string): string | undefined {
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', disk], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  onTestFinished(() => {
    execFileSync('umount', [disk]);
  });
  return disk;
}

describe('a disk that does not take the result', () => {
  it('full: a typed error, finished checkpoints stay, nothing half-written', async ({ skip }) => {
    const disk = smallDisk(temporaryFolder(), 'size=128k');
    if (!disk) skip('mounting a small file system is not permitted here');
    const input = { ...smallRun(temporaryFolder()), out: join(disk as string, 'out') };
    const run = trainHere({ ...input, checkpoint: { everySteps: 1, keep: 100 }, method: { type: 'lora', rank: 8 } });
    await expect(run).rejects.toMatchObject({ code: 'ERR_FILE', message: expect.stringMatching(/checkpoint-\d+.*disk is full/s) });
    const names = readdirSync(join(input.out, 'checkpoints'));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      expect(name).toMatch(/^checkpoint-\d+$/);
      expect(existsSync(join(input.out, 'checkpoints', name, 'trainer_state.json'))).toBe(true);
    }
  });

  it('read-only: a typed error', async ({ skip }) => {
    const disk = smallDisk(temporaryFolder(), 'size=64k,ro');
    if (!disk) skip('mounting a small file system is not permitted here');
    const input = { ...smallRun(temporaryFolder()), out: join(disk as string, 'out') };
    await expect(trainHere(input)).rejects.toMatchObject({ code: 'ERR_FILE', message: expect.stringMatching(/read-only/) });
  });
});
