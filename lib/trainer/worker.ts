import { parentPort, workerData } from 'node:worker_threads';
import type { TrainConfig } from '../config/defaults.js';
import { FinetuneError } from '../native/errors.js';
import type { TrainEvent, TrainResult } from './events.js';
import { runTraining } from './train.js';

/** What the starter of a training worker passes in. */
export interface WorkerInput {
  config: TrainConfig;
  /** One word: not 0 = finish the step and stop. The worker does not read messages while kernels run. */
  stop: SharedArrayBuffer;
}

/** What a training worker sends. */
export type WorkerMessage =
  | { type: 'event'; event: TrainEvent }
  | { type: 'result'; result: TrainResult }
  | { type: 'error'; error: { code?: string; message: string; details?: Record<string, unknown>; stack?: string | undefined } };

const { config, stop } = workerData as WorkerInput;
const flag = new Int32Array(stop);
const post = (message: WorkerMessage): void => parentPort?.postMessage(message);

runTraining(config, {
  emit: (event) => post({ type: 'event', event }),
  shouldStop: () => Atomics.load(flag, 0) !== 0,
})
  .then((result) => post({ type: 'result', result }))
  .catch((error: unknown) => {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    post({ type: 'error', error: error instanceof FinetuneError ? { ...error.toJSON(), stack } : { message, stack } });
  });
