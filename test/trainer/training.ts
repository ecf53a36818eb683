import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { resolveConfig } from '../../lib/config/resolve.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import type { TrainEvent, TrainResult } from '../../lib/trainer/events.js';
import { runTraining } from '../../lib/trainer/train.js';
import { fixturePath } from '../parity/fixture.js';

/** A fresh folder that goes away with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'node-finetune-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Rows of token ids for the tiny fixture models, of different lengths. */
export function writeTokenRows(folder: string, rows = 23): string {
  const path = join(folder, 'rows.jsonl');
  const lines = Array.from({ length: rows }, (_, r) => {
    const input_ids = Array.from({ length: 5 + ((r * 7) % 13) }, (_, i) => (r * 31 + i * i * 5 + 3) % 96);
    return JSON.stringify({ input_ids, labels: input_ids.map((id, i) => (i < 2 ? -100 : id)) });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

export interface Trained {
  result: TrainResult;
  events: TrainEvent[];
  /** Loss of every step. */
  losses: number[];
}

/** Trains on this thread; stops after `stopAfter` steps if given. */
export async function trainHere(input: TrainConfigInput, stopAfter = Number.POSITIVE_INFINITY): Promise<Trained> {
  const events: TrainEvent[] = [];
  const steps = () => events.filter((e) => e.type === 'step');
  const result = await runTraining(resolveConfig(input), {
    emit: (event) => events.push(event),
    shouldStop: () => steps().length >= stopAfter,
  });
  return { result, events, losses: steps().map((e) => e.loss) };
}

/** A small run on a fixture model; everything can be overridden. */
export function smallRun(folder: string, overrides: Partial<TrainConfigInput> = {}): TrainConfigInput {
  return {
    model: fixturePath('smollm2'),
    data: writeTokenRows(folder),
    out: join(folder, 'out'),
    maxLength: 32,
    batchSize: 1,
    epochs: 2,
    learningRate: 1e-2,
    cacheDir: join(folder, 'cache'),
    ...overrides,
  };
}
