import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { smallDisk } from './small-disk.js';
import { smallRun, temporaryFolder, trainHere } from './training.js';

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

  it('too small for the result: refused before the first step', async ({ skip }) => {
    const disk = smallDisk(temporaryFolder(), 'size=16k');
    if (!disk) skip('mounting a small file system is not permitted here');
    const input = { ...smallRun(temporaryFolder()), out: join(disk as string, 'out'), method: { type: 'full' as const } };
    const refused = { code: 'ERR_FILE', message: expect.stringMatching(/the result needs \d+ bytes, \d+ are free/) };
    await expect(trainHere(input)).rejects.toMatchObject(refused);
    expect(readdirSync(disk as string)).toEqual([]);
  });

  it('read-only: a typed error', async ({ skip }) => {
    const disk = smallDisk(temporaryFolder(), 'size=64k,ro');
    if (!disk) skip('mounting a small file system is not permitted here');
    const input = { ...smallRun(temporaryFolder()), out: join(disk as string, 'out') };
    await expect(trainHere(input)).rejects.toMatchObject({ code: 'ERR_FILE', message: expect.stringMatching(/read-only/) });
  });
});
