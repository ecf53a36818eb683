import { join } from 'node:path';
import { resolveConfig } from '../../lib/config/resolve.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import type { TrainEvent } from '../../lib/trainer/events.js';
import { runTraining } from '../../lib/trainer/train.js';
import { fileIn } from '../formats/temporary.js';
import { stories } from './golden.js';

/** Trains an adapter for three large steps on a few stories, so that it changes every layer visibly. */
export async function trainAdapter(folder: string, model: string, options: Partial<TrainConfigInput> = {}) {
  const out = join(folder, 'adapter');
  const events: TrainEvent[] = [];
  const config = resolveConfig({
    model,
    data: fileIn(folder, 'train.json', JSON.stringify(stories().slice(0, 6))),
    validationData: validationFile(folder),
    out,
    maxSteps: 3,
    batchSize: 2,
    maxLength: 96,
    learningRate: 0.02,
    cacheDir: join(folder, 'cache'),
    ...options,
  });
  await runTraining(config, { emit: (event) => events.push(event), shouldStop: () => false });
  return { out, events };
}

/** Stories that trainAdapter holds out. */
export function validationFile(folder: string): string {
  return fileIn(folder, 'validation.json', JSON.stringify(stories().slice(10, 14)));
}
