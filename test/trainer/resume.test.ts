import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { fixturePath } from '../parity/fixture.js';
import { type Settings, trainings } from './sessions.js';
import { smallRun, temporaryFolder, trainHere } from './training.js';

/** Bytes of the files a run wrote, without its checkpoints. */
function outputs(folder: string): Record<string, string> {
  const files = readdirSync(folder, { withFileTypes: true }).filter((f) => f.isFile());
  return Object.fromEntries(files.map((f) => [f.name, readFileSync(join(folder, f.name)).toString('base64')]));
}

describe('a run that is stopped and resumed', () => {
  const cases: [string, Settings & { model?: string }][] = [
    ...Object.entries(trainings),
    ['bf16 with stochastic rounding', { method: { type: 'full' }, dtype: 'bf16', optimizer: { type: 'lomo' } }],
    ['8-bit states', { model: fixturePath('phi3'), method: { type: 'full' }, optimizer: { type: 'adamw', stateDtype: '8bit' } }],
    [
      '4-bit states',
      { model: fixturePath('phi3'), method: { type: 'full' }, optimizer: { type: 'adamw', stateDtype: '4bit', fused: true } },
    ],
    ['bf16 adamw', { method: { type: 'full' }, dtype: 'bf16', optimizer: { type: 'adamw', stateDtype: 'bf16' } }],
    [
      'cosine with warm-up, accumulation, no packing',
      { schedule: { type: 'cosine', warmupSteps: 3 }, gradientAccumulationSteps: 2, packing: false },
    ],
    ['file order', { shuffle: false }],
  ];
  it.each(cases)('%s: continues bit for bit', async (_name, settings) => {
    const folder = temporaryFolder();
    const whole = await trainHere(smallRun(folder, { ...settings, out: join(folder, 'whole') }));
    const steps = whole.result.steps;
    expect(steps).toBeGreaterThan(5);

    const out = join(folder, 'parts');
    const first = await trainHere(smallRun(folder, { ...settings, out }), 2);
    expect(first.result.status).toBe('stopped');
    const second = await trainHere(smallRun(folder, { ...settings, out, resume: true }), 2);
    expect(second.result.status).toBe('stopped');
    const third = await trainHere(smallRun(folder, { ...settings, out, resume: second.result.checkpoint as string }));
    expect(third.result).toMatchObject({ status: 'completed', steps });

    expect([...first.losses, ...second.losses, ...third.losses]).toEqual(whole.losses);
    expect(outputs(out)).toEqual(outputs(join(folder, 'whole')));
  });

  it('keeps evaluations, the best checkpoint and early stopping', async () => {
    const folder = temporaryFolder();
    const settings = {
      validationSplit: 0.2,
      evaluation: { everySteps: 1, keepBest: true, earlyStoppingPatience: 3 },
      learningRate: 0.3,
      epochs: 20,
      checkpoint: { keep: 1 },
    };
    const whole = await trainHere(smallRun(folder, { ...settings, out: join(folder, 'whole') }));
    expect(whole.result.status).toBe('early-stopped');
    const out = join(folder, 'parts');
    await trainHere(smallRun(folder, { ...settings, out }), 2);
    const rest = await trainHere(smallRun(folder, { ...settings, out, resume: true }));
    const { elapsedMs: _a, out: _b, checkpoint: _c, ...stable } = whole.result;
    expect(rest.result).toMatchObject(stable);
    expect(outputs(out)).toEqual(outputs(join(folder, 'whole')));
    expect(readdirSync(join(out, 'checkpoints'))).toContain(`checkpoint-${whole.result.bestStep}`);
  });
});

describe('checkpoints', () => {
  it('keeps the newest ones only', async () => {
    const folder = temporaryFolder();
    const { result } = await trainHere(smallRun(folder, { checkpoint: { everySteps: 1, keep: 2 } }));
    const names = readdirSync(join(folder, 'out', 'checkpoints')).sort();
    expect(names).toEqual([`checkpoint-${result.steps - 1}`, `checkpoint-${result.steps}`].sort());
  });

  it('refuses another run, naming every difference', async () => {
    const folder = temporaryFolder();
    const { result } = await trainHere(smallRun(folder), 2);
    const other = smallRun(folder, { resume: result.checkpoint as string, learningRate: 5e-3, method: { type: 'lora', rank: 5 } });
    await expect(trainHere(other)).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT_MISMATCH',
      message: expect.stringMatching(/method was .*rank.*learningRate was 0.01, now 0.005/s),
    });
  });

  it.each<[string, Partial<TrainConfigInput>, RegExp]>([
    ['of another optimizer', { optimizer: { type: 'lion' } }, /is missing.*Resume with the settings/],
    ['in another type', { optimizer: { type: 'adamw', stateDtype: 'bf16' } }, /is bf16 .*, wanted f32 .*Resume with the settings/],
    ['of another shape', { method: { type: 'lora', rank: 3 } }, /\[3,\d+\], wanted f32 \[16,\d+\].*Resume with the settings/],
  ])('refuses states %s, though the rest of the checkpoint fits', async (_name, settings, reason) => {
    const [folder, elsewhere] = [temporaryFolder(), temporaryFolder()];
    const { result } = await trainHere(smallRun(folder), 2);
    const other = await trainHere(smallRun(elsewhere, { ...settings, learningRate: 1e-3 }), 2);
    const states = (checkpoint: string | undefined) => join(checkpoint as string, 'optimizer.safetensors');
    cpSync(states(other.result.checkpoint), states(result.checkpoint));
    const resumed = trainHere(smallRun(folder, { resume: result.checkpoint as string }));
    await expect(resumed).rejects.toMatchObject({ code: 'ERR_CHECKPOINT_MISMATCH', message: expect.stringMatching(reason) });
  });

  it('refuses an optimizer, by its name, and states of another type', async () => {
    const folder = temporaryFolder();
    const { result } = await trainHere(smallRun(folder), 2);
    for (const optimizer of [{ type: 'lion' }, { type: 'adamw', stateDtype: '8bit' }] as const) {
      const run = trainHere(smallRun(folder, { resume: result.checkpoint as string, optimizer }));
      const message = expect.stringMatching(/optimizer was .*adamw.*, now .*(lion|8bit)/);
      await expect(run).rejects.toMatchObject({ code: 'ERR_CHECKPOINT_MISMATCH', message });
    }
  });

  it('refuses other data', async () => {
    const folder = temporaryFolder();
    const { result } = await trainHere(smallRun(folder), 2);
    const data = join(folder, 'other.jsonl');
    writeFileSync(data, '{"input_ids":[1,2,3,4]}\n'.repeat(30));
    const other = { ...smallRun(folder, { resume: result.checkpoint as string }), data };
    await expect(trainHere(other)).rejects.toMatchObject({ code: 'ERR_CHECKPOINT_MISMATCH', message: expect.stringContaining('data was') });
  });

  it('refuses damaged and missing files with typed errors', async () => {
    const folder = temporaryFolder();
    const { result } = await trainHere(smallRun(folder), 2);
    const whole = result.checkpoint as string;
    const damaged = async (change: (dir: string) => void, code: string) => {
      const dir = join(folder, 'damaged');
      rmSync(dir, { recursive: true, force: true });
      cpSync(whole, dir, { recursive: true });
      change(dir);
      await expect(trainHere(smallRun(folder, { resume: dir }))).rejects.toMatchObject({ code });
    };
    await damaged((dir) => truncateSync(join(dir, 'optimizer.safetensors'), 100), 'ERR_MODEL_CORRUPT');
    await damaged((dir) => rmSync(join(dir, 'optimizer.safetensors')), 'ERR_FILE');
    await damaged((dir) => truncateSync(join(dir, 'trainer_state.json'), 20), 'ERR_MODEL_CORRUPT');
    await damaged((dir) => rmSync(join(dir, 'trainer_state.json')), 'ERR_CHECKPOINT_MISMATCH');
    await damaged((dir) => writeFileSync(join(dir, 'trainer_state.json'), '{"version":99}'), 'ERR_CHECKPOINT_MISMATCH');
    await damaged((dir) => rmSync(join(dir, 'adapter_model.safetensors')), 'ERR_FILE');
  });

  it('has nothing to resume in an empty folder', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'out'));
    await expect(trainHere(smallRun(folder, { resume: true }))).rejects.toMatchObject({ code: 'ERR_FILE' });
  });
});
