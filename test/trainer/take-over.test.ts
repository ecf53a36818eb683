import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { isLinkable, release } from '../../lib/core/memory.js';
import { ScratchFolder } from '../../lib/core/scratch.js';
import { plan } from '../../lib/index.js';
import { fixturePath } from '../parity/fixture.js';
import { smallDisk } from './small-disk.js';
import { smallRun, temporaryFolder, trainHere } from './training.js';

const full = { type: 'full' } as const;
const { weightsOffloaded } = plan({ model: fixturePath('smollm2'), method: full, offload: { weights: true } }).bytes;
const forbidden = 'mounting a small file system is not permitted here';

const weights = (folder: string) => readFileSync(join(folder, 'model.safetensors'));

/** The weights that the same run writes from memory. */
async function inMemory(overrides: Partial<TrainConfigInput> = {}): Promise<Buffer> {
  const input = smallRun(temporaryFolder(), { method: full, ...overrides });
  await trainHere(input);
  return weights(input.out);
}

/** Whether scratch files in a folder can be named. */
function canName(path: string): boolean {
  const folder = new ScratchFolder(path);
  const segment = folder.map(64, 'a try', true);
  const linkable = isLinkable(segment);
  release(segment);
  return linkable;
}

it('weights in a scratch file become the result, and take its space once', async ({ skip }) => {
  const disk = smallDisk(temporaryFolder(), `size=${Math.ceil((1.5 * weightsOffloaded) / 1024)}k`);
  if (!disk) skip(forbidden);
  if (!canName(disk as string)) skip('this file system has no files without a name');
  const model = readFileSync(join(fixturePath('smollm2'), 'model.safetensors'));
  const input = smallRun(temporaryFolder(), { method: full, out: join(disk as string, 'out'), offload: { weights: true } });
  expect((await trainHere(input)).result.status).toBe('completed');
  expect(weights(input.out)).toEqual(await inMemory());
  expect(readFileSync(join(fixturePath('smollm2'), 'model.safetensors'))).toEqual(model);
  expect(readdirSync(disk as string)).toEqual(['out']);
});

it('a checkpoint on the way is a copy that later steps do not change', async () => {
  const folder = temporaryFolder();
  const runs = ['memory', 'scratch'].map((name) => {
    const offload = { weights: name === 'scratch' };
    return smallRun(folder, { method: full, out: join(folder, name), checkpoint: { everySteps: 1, keep: 100 }, epochs: 1, offload });
  });
  for (const run of runs) await trainHere(run);
  const [first, second] = runs.map(({ out }) => weights(join(out, 'checkpoints', 'checkpoint-1')));
  expect(second).toEqual(first);
  expect(first).not.toEqual(weights(runs[0]?.out as string));
});

it.each<[string, Partial<TrainConfigInput>]>([
  ['where only a part of the model is trained', { method: { ...full, trainLastLayers: 1 } }],
  ['of the best evaluation', { validationSplit: 4, evaluation: { everySteps: 2, keepBest: true }, learningRate: 0.3 }],
])('the result %s is that of a run in memory', async (_name, settings) => {
  const input = smallRun(temporaryFolder(), { method: full, ...settings, offload: { weights: true } });
  await trainHere(input);
  expect(weights(input.out)).toEqual(await inMemory(settings));
});

it('from another file system the weights are copied', async ({ skip }) => {
  const dir = smallDisk(temporaryFolder(), 'size=2m');
  if (!dir) skip(forbidden);
  const input = smallRun(temporaryFolder(), { method: full, offload: { weights: true, dir: dir as string } });
  await trainHere(input);
  expect(weights(input.out)).toEqual(await inMemory());
});

it('and room for the copy is asked for before the first step', async ({ skip }) => {
  const disk = smallDisk(temporaryFolder(), 'size=16k');
  if (!disk) skip(forbidden);
  const out = join(disk as string, 'out');
  const input = smallRun(temporaryFolder(), { method: full, out, offload: { weights: true, dir: temporaryFolder() } });
  const refused = { code: 'ERR_FILE', message: expect.stringMatching(/the result needs \d+ bytes, \d+ are free/) };
  await expect(trainHere(input)).rejects.toMatchObject(refused);
  expect(existsSync(out)).toBe(false);
});
