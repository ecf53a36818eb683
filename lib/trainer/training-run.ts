import { Worker } from 'node:worker_threads';
import { resolveConfig } from '../config/resolve.js';
import type { TrainConfigInput } from '../config/schema.js';
import { type ErrorCode, FinetuneError } from '../native/errors.js';
import { EventQueue } from './event-queue.js';
import type { TrainEvent, TrainResult } from './events.js';
import type { WorkerInput, WorkerMessage } from './worker.js';
import { workerUrl } from './worker-url.js';

type Listener = (event: TrainEvent) => void;

/**
 * A training run in a worker thread. Iterate it for its events, await it for its result, or both; iterating is optional, and breaking
 * out of the loop does not stop the run.
 */
export class TrainingRun implements AsyncIterable<TrainEvent>, PromiseLike<TrainResult> {
  private readonly worker: Worker;
  private readonly flag: Int32Array;
  private readonly queue = new EventQueue();
  private readonly listeners: { type: TrainEvent['type']; listener: Listener }[] = [];
  private readonly result: Promise<TrainResult>;
  private settled = false;

  /** Use `train`. @internal */
  constructor(input: TrainConfigInput, signal: AbortSignal | undefined) {
    const config = resolveConfig(input);
    signal?.throwIfAborted();
    const stop = new SharedArrayBuffer(4);
    this.flag = new Int32Array(stop);
    this.worker = new Worker(workerUrl(), { workerData: { config, stop } satisfies WorkerInput });
    this.result = new Promise((resolve, reject) => this.connect(resolve, reject, signal));
    // Whoever only iterates sees the error there; it must not become an unhandled rejection here.
    this.result.catch(() => {});
  }

  /** Finishes the step at work, writes a checkpoint, and resolves with status `stopped`. */
  async stop(): Promise<void> {
    Atomics.store(this.flag, 0, 1);
    await this.result;
  }

  /** Calls listener for every event of a type. An error it throws stops the run and rejects it. */
  on<T extends TrainEvent['type']>(type: T, listener: (event: Extract<TrainEvent, { type: T }>) => void): this {
    this.listeners.push({ type, listener: listener as Listener });
    return this;
  }

  // biome-ignore lint/suspicious/noThenProperty: a run can be awaited, that is its interface
  then<A = TrainResult, B = never>(
    onFulfilled?: ((value: TrainResult) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.result.then(onFulfilled, onRejected);
  }

  [Symbol.asyncIterator](): AsyncIterator<TrainEvent> {
    return this.queue[Symbol.asyncIterator]();
  }

  private connect(resolve: (result: TrainResult) => void, reject: (error: unknown) => void, signal: AbortSignal | undefined): void {
    const abort = (): void => fail(signal?.reason);
    const finish = (): void => {
      this.settled = true;
      signal?.removeEventListener('abort', abort);
      void this.worker.terminate();
    };
    const fail = (error: unknown): void => {
      if (this.settled) return;
      finish();
      this.queue.fail(error);
      reject(error);
    };
    signal?.addEventListener('abort', abort, { once: true });
    this.worker.on('message', (message: WorkerMessage) => {
      if (this.settled) return;
      if (message.type === 'error') fail(reviveError(message.error));
      else if (message.type === 'result') {
        finish();
        this.queue.end();
        resolve(message.result);
      } else {
        this.queue.push(message.event);
        try {
          for (const { type, listener } of this.listeners) if (type === message.event.type) listener(message.event);
        } catch (error) {
          fail(error);
        }
      }
    });
    this.worker.on('error', fail);
    this.worker.on('exit', (code) =>
      fail(new FinetuneError('ERR_INTERNAL', `the training worker ended early with code ${code}`, { code })),
    );
  }
}

function reviveError(error: Extract<WorkerMessage, { type: 'error' }>['error']): Error {
  const revived = error.code ? new FinetuneError(error.code as ErrorCode, error.message, error.details) : new Error(error.message);
  if (error.stack) revived.stack = error.stack;
  return revived;
}

/**
 * Trains a model as the configuration says, in a worker thread.
 * @throws ERR_CONFIG_INVALID at once, with every problem; everything later rejects the run
 * @example
 * ```ts
 * const run = train({ model: './SmolLM2-135M', data: './chat.jsonl', out: './adapter' });
 * for await (const event of run) if (event.type === 'step') console.log(event.step, event.loss);
 * console.log((await run).status);
 * ```
 */
export function train(config: TrainConfigInput, hooks: { signal?: AbortSignal } = {}): TrainingRun {
  return new TrainingRun(config, hooks.signal);
}
