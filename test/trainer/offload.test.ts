import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import { openModel } from '../../lib/formats/model-source.js';
import { planRun } from '../../lib/trainer/plan.js';
import { fixturePath } from '../parity/fixture.js';
import { openSession, product } from '../parity/model-session.js';
import { privateBytes, type Settings, sampleBatch, trainedBytes } from './sessions.js';
import { smallDisk } from './small-disk.js';
import { smallRun, temporaryFolder, trainHere } from './training.js';

const parts = ['weights', 'gradients', 'optimizer', 'activations'] as const;
const full = { type: 'full' } as const;

/** Trainings that differ in what they keep. */
const trainings: Record<string, Settings> = {
  'full adamw': { method: full },
  'full fused adamw with 8-bit moments': { method: full, optimizer: { type: 'adamw', fused: true, stateDtype: '8bit' } },
  'full lomo in bf16': { method: full, dtype: 'bf16', optimizer: { type: 'lomo' } },
  'full lomo clipped exactly': { method: full, optimizer: { type: 'lomo', exactClip: true }, maxGradNorm: 0.5 },
  'full adalomo': { method: full, optimizer: { type: 'adalomo' } },
  'lora adamw with dropout': { method: { type: 'lora', rank: 4, dropout: 0.3 } },
};

const arithmetic = (settings: Settings) => ({ ...product, dtype: settings.dtype ?? product.dtype });

/** Everything that this training keeps. */
function offloadAll({ optimizer }: Settings, dir: string): NonNullable<Settings['offload']> {
  const fused = optimizer?.type === 'lomo' || optimizer?.type === 'adalomo' || (optimizer && 'fused' in optimizer && optimizer.fused);
  return { weights: true, gradients: !fused, optimizer: true, activations: true, dir };
}

function trained(settings: Settings) {
  const session = openSession(fixturePath('gemma2'), settings, [sampleBatch()], arithmetic(settings));
  const results = [1, 2, 3].map((seed) => session.step([sampleBatch(seed)], seed, 1e-2));
  const evaluated = session.evaluate(sampleBatch(4));
  const weights = trainedBytes(session);
  session.dispose();
  return { results, evaluated, weights };
}

describe.each(Object.entries(trainings))('%s, offloaded', (_name, settings) => {
  it.each(['block', 3] as const)('has the bits of the run in memory, with checkpointing %s', (checkpointing) => {
    const common = { ...settings, checkpointing };
    const offload = offloadAll(settings, temporaryFolder());
    expect(trained({ ...common, offload })).toEqual(trained(common));
  });

  it('takes the planned bytes, private ones and those of scratch files apart', () => {
    const path = fixturePath('gemma2');
    const batch = sampleBatch();
    const dir = temporaryFolder();
    const common = { ...settings, checkpointing: 'block' as const };
    const source = openModel(path);
    const capacity = { tokens: batch.inputIds.length, sequences: 3, labelTokens: batch.labelRows.length };
    const planned = (config: Settings) => planRun(resolvePlanConfig({ model: path, ...config }), source, capacity).bytes;
    const inMemory = planned(common);
    const all = offloadAll(settings, dir);
    for (const chosen of [all, ...parts.filter((part) => all[part]).map((part) => ({ [part]: true, dir }))]) {
      const config = { ...common, offload: chosen };
      const plan = planned(config);
      const [heap, offloaded] = [privateBytes(), memoryStatistics().current.offloaded];
      const session = openSession(path, config, [batch], arithmetic(config));
      const taken = () => ({ total: privateBytes() - heap, offloaded: memoryStatistics().current.offloaded - offloaded });
      const wanted = { total: plan.total, offloaded: plan.offloaded };
      expect(session.plan()).toEqual(plan);
      expect(taken()).toEqual(wanted);
      for (const step of [1, 2]) session.step([sampleBatch(step)], step, 1e-3);
      expect(taken()).toEqual(wanted);
      expect(session.arenaPeakBytes).toBe(plan.arena);
      session.dispose();
      expect(taken()).toEqual({ total: 0, offloaded: 0 });
      // What goes to the disk leaves private memory. Of block inputs the arena can hold one by one what it held together.
      const kept = plan.total + plan.offloaded;
      if (chosen === all || 'activations' in chosen) expect(plan.total).toBeLessThan(inMemory.total);
      else if ('weights' in chosen && settings.method === full) {
        // Tensors lie as in the result: behind a header, and without the gaps that align them.
        expect(plan.total).toBe(inMemory.total - inMemory.weights);
        expect(Math.abs(plan.offloaded - inMemory.weights)).toBeLessThan(8192);
      } else expect(kept).toBe(inMemory.total);
    }
    source.weights?.close();
    expect(readdirSync(dir)).toEqual([]);
  });
});

/** Bytes of the files a run wrote, without its checkpoints. */
function outputs(folder: string): Record<string, string> {
  const files = readdirSync(folder, { withFileTypes: true }).filter((f) => f.isFile());
  return Object.fromEntries(files.map((f) => [f.name, readFileSync(join(folder, f.name)).toString('base64')]));
}

describe('a run with scratch files beside its output', () => {
  it.each<[string, Settings]>([
    ['adamw', { method: full }],
    ['lomo in bf16', { method: full, dtype: 'bf16', optimizer: { type: 'lomo' } }],
  ])('%s: stopped and resumed, in memory or not, it writes the same files and leaves nothing else', async (_name, settings) => {
    const folder = temporaryFolder();
    const common = { ...settings, checkpointing: 'block' as const };
    const { dir: _dir, ...offload } = offloadAll(settings, folder);
    const inMemory = await trainHere(smallRun(folder, { ...common, out: join(folder, 'memory') }));
    const out = join(folder, 'parts');
    const first = await trainHere(smallRun(folder, { ...common, offload, out }), 2);
    const second = await trainHere(smallRun(folder, { ...common, out, resume: true }), 2);
    const third = await trainHere(smallRun(folder, { ...common, offload, out, resume: true }));
    expect([...first.losses, ...second.losses, ...third.losses]).toEqual(inMemory.losses);
    expect(outputs(out)).toEqual(outputs(join(folder, 'memory')));
    expect(readdirSync(out).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('clears away what a process left that was killed before its file lost its name', async () => {
    const folder = temporaryFolder();
    const dir = join(folder, 'scratch');
    mkdirSync(dir);
    for (const name of ['.node-finetune-12-0123abcd.scratch', 'other.scratch']) writeFileSync(join(dir, name), 'x');
    await trainHere(smallRun(folder, { method: full, offload: { weights: true, dir }, epochs: 1 }));
    expect(readdirSync(dir)).toEqual(['other.scratch']);
  });

  it('removes a folder that it made, also when the run fails', async () => {
    const folder = temporaryFolder();
    const dir = join(folder, 'a', 'b');
    await trainHere(smallRun(folder, { method: full, offload: { optimizer: true, dir }, epochs: 1 }));
    expect(existsSync(join(folder, 'a'))).toBe(false);
    const failing = smallRun(folder, {
      out: join(folder, 'failed'),
      method: full,
      offload: { weights: true, dir },
      learningRate: 1e30,
      maxGradNorm: 0,
    });
    await expect(trainHere(failing)).rejects.toMatchObject({ code: 'ERR_NONFINITE_LOSS' });
    expect(existsSync(join(folder, 'a'))).toBe(false);
    expect(memoryStatistics().current.offloaded).toBe(0);
  });
});

describe('a folder that cannot take scratch files is refused before the first step', () => {
  const run = (dir: string) => trainHere(smallRun(temporaryFolder(), { method: full, offload: { weights: true, dir } }));

  it('a file', async () => {
    const dir = join(temporaryFolder(), 'file');
    writeFileSync(dir, 'x');
    await expect(run(dir)).rejects.toMatchObject({ code: 'ERR_FILE', message: expect.stringMatching(/file: .*offload\.dir/) });
  });

  it('a full disk, with what is needed and free', async ({ skip }) => {
    const disk = smallDisk(temporaryFolder(), 'size=16k');
    if (!disk) skip('mounting a small file system is not permitted here');
    const refused = {
      code: 'ERR_FILE',
      message: expect.stringMatching(/disk is full: trained weights need \d+ bytes, \d+ are free.*offload\.dir/),
    };
    await expect(run(disk as string)).rejects.toMatchObject(refused);
    expect(readdirSync(disk as string)).toEqual([]);
  });

  it('a read-only disk', async ({ skip }) => {
    const disk = smallDisk(temporaryFolder(), 'size=1m,ro');
    if (!disk) skip('mounting a small file system is not permitted here');
    await expect(run(disk as string)).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringMatching(/[Rr]ead-only.*offload\.dir/),
    });
  });

  it('none at all, where there is no output', () => {
    const open = () => openSession(fixturePath('llama'), { method: full, offload: { weights: true } }, [sampleBatch()], product);
    expect(open).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID', message: expect.stringContaining('offload.dir') }));
  });
});
