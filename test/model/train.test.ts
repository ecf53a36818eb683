import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel, type TrainEvent, train } from '../../lib/index.js';
import { smallRun, temporaryFolder, trainHere } from '../trainer/training.js';

const built = existsSync(join(import.meta.dirname, '..', '..', 'dist', 'trainer', 'worker.js'));

describe.skipIf(!built)('training in a worker', () => {
  it('model.train reports events, resolves, and continues the adapter it was loaded with', async () => {
    const folder = temporaryFolder();
    const { model: path, ...settings } = smallRun(folder);
    const first = join(folder, 'first');
    await using model = await loadModel({ path });
    const run = model.train({ ...settings, out: first });
    const events: TrainEvent[] = [];
    for await (const event of run) events.push(event);
    const result = await run;
    expect(events.map((e) => e.type)).toContain('step');
    expect(events.at(-1)).toEqual({ type: 'done', result });
    expect(result).toMatchObject({ status: 'completed', peakBytes: result.plannedBytes });

    await using tuned = await loadModel({ path, adapter: first });
    const again = tuned.train({ ...settings, out: join(folder, 'second'), maxSteps: 1, epochs: undefined });
    let loss = Number.NaN;
    again.on('step', (event) => {
      loss = event.loss;
    });
    await again;
    const fresh = events.find((e) => e.type === 'step');
    expect(loss).toBeLessThan(fresh?.type === 'step' ? fresh.loss : 0);
  });

  it('gives the losses of a run on this thread', async () => {
    const folder = temporaryFolder();
    const input = smallRun(folder);
    const here = await trainHere({ ...input, out: join(folder, 'here') });
    const losses: number[] = [];
    await train(input).on('step', ({ loss }) => losses.push(loss));
    expect(losses).toEqual(here.losses);
  });

  it('an error that a listener throws stops the run and rejects it', async () => {
    const run = train(smallRun(temporaryFolder(), { maxSteps: 100_000, epochs: undefined })).on('step', () => {
      throw new Error('from the listener');
    });
    await expect(run).rejects.toThrow('from the listener');
  });

  it('a rejected run that is only iterated is no unhandled rejection', async () => {
    const run = train(smallRun(temporaryFolder(), { data: '/nowhere.jsonl' }));
    const iterate = async () => {
      for await (const _ of run);
    };
    await expect(iterate()).rejects.toMatchObject({ code: 'ERR_FILE' });
  });

  it('stop() finishes with a checkpoint, abort rejects with the reason', async () => {
    const folder = temporaryFolder();
    const run = train(smallRun(folder, { maxSteps: 100_000, epochs: undefined }));
    run.on('step', ({ step }) => void (step === 2 && run.stop()));
    const result = await run;
    expect(result.status).toBe('stopped');
    expect(existsSync(join(result.checkpoint as string, 'trainer_state.json'))).toBe(true);

    const controller = new AbortController();
    const aborted = train(smallRun(temporaryFolder(), { maxSteps: 100_000, epochs: undefined }), { signal: controller.signal });
    aborted.on('step', () => controller.abort(new Error('enough')));
    await expect(aborted).rejects.toThrow('enough');
  });

  it('wrong settings are refused at once, all of them', () => {
    expect(() => train({ model: 'a', data: 'b', out: 'c', batchSize: 0, epochs: -1 })).toThrow(/2 problems[\s\S]*epochs[\s\S]*batchSize/);
  });
});
