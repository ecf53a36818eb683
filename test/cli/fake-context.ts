import { Readable } from 'node:stream';
import type { Api, Demo, Model, TrainingRun } from '../../lib/cli/api.js';
import type { CommandContext } from '../../lib/cli/context.js';
import { runCli } from '../../lib/cli/program.js';
import type { EvaluateResult } from '../../lib/evaluate-model.js';
import type { PlanReport, StepEvent, TrainEvent, TrainResult } from '../../lib/trainer/events.js';

export const report: PlanReport = {
  model: './model',
  modelType: 'llama',
  method: 'lora',
  optimizer: 'adamw',
  device: 'cpu',
  dtype: 'f32',
  batchSize: 4,
  maxLength: 256,
  tokens: 1024,
  packing: true,
  checkpointing: 'none',
  fused: false,
  totalParameters: 1_000_000,
  trainableParameters: 10_000,
  bytes: {
    weightsMapped: 4_000_000,
    quantizationMapped: 0,
    quantization: 0,
    weights: 40_000,
    gradients: 40_000,
    optimizer: 80_000,
    arena: 800_000,
    checkpoints: 0,
    saved: 500_000,
    transient: 200_000,
    workspace: 100_000,
    other: 40_000,
    weightsOffloaded: 0,
    gradientsOffloaded: 0,
    optimizerOffloaded: 0,
    activationsOffloaded: 0,
    offloaded: 0,
    total: 1_000_000,
  },
};

export function stepEvent(step: number, steps: number): StepEvent {
  const memory = { now: 2 ** 20, peak: 3 * 2 ** 20 };
  return {
    type: 'step',
    step,
    steps,
    epoch: 1,
    loss: 2 / step,
    gradNorm: 0.5,
    learningRate: 2e-4,
    tokens: 1024,
    labelTokens: 500,
    tokensPerSecond: 1234.5,
    memory,
    etaMs: 65_000,
  };
}

export const result: TrainResult = {
  status: 'completed',
  steps: 2,
  finalLoss: 1,
  out: './adapter',
  peakBytes: 1_000_000,
  plannedBytes: 1_000_000,
  tokens: 2048,
  elapsedMs: 3000,
};

export const events: TrainEvent[] = [
  { type: 'start', report, steps: 2, epochs: 1, startStep: 0, trainExamples: 8, validationExamples: 2, warnings: ['one row was cut'] },
  stepEvent(1, 2),
  { type: 'eval', step: 1, loss: 1.5, perplexity: 4.48, tokens: 100, best: true },
  { type: 'checkpoint', step: 1, path: './adapter/checkpoints/step-1', best: false },
  stepEvent(2, 2),
  { type: 'done', result },
];

/** A run that reports `events`, waiting at each for `pause`, and ends as `end` says once stopped. */
export function fakeRun(
  reported: TrainEvent[],
  options: { end?: Promise<TrainResult>; onStop?: () => void; pause?: (event: TrainEvent) => Promise<void> } = {},
): TrainingRun {
  const end = options.end ?? Promise.resolve(result);
  end.catch(() => undefined);
  return {
    async *[Symbol.asyncIterator]() {
      for (const event of reported) {
        yield event;
        await options.pause?.(event);
      }
    },
    // biome-ignore lint/suspicious/noThenProperty: a run is awaited for its result
    then: (fulfilled, rejected) => end.then(fulfilled, rejected),
    stop: async () => options.onStop?.(),
  };
}

export const evaluation: EvaluateResult = { loss: 1, perplexity: Math.E, tokens: 10, examples: 2, truncated: 0, warnings: ['odd'] };

export function fakeModel(parts: Partial<Model> = {}): Model {
  return {
    hasChatTemplate: true,
    async *generate() {
      yield 'Hello';
      yield ' there';
    },
    evaluate: async () => evaluation,
    merge: async (out) => ({ out, files: ['model.safetensors'], dtype: 'bf16', dequantizedFrom: 'q4_1', layers: [] }),
    [Symbol.asyncDispose]: async () => undefined,
    ...parts,
  };
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
  exits: number[];
}

export interface Given {
  api?: Partial<Api>;
  demo?: Demo;
  environment?: NodeJS.ProcessEnv;
  stdin?: string[];
  tty?: boolean;
  /** Called with a function that sends a signal to the command. */
  signals?: (send: (signal: 'SIGINT' | 'SIGTERM') => void) => void;
}

/** Runs one command line on fakes and returns what it printed. */
export async function cli(args: string[], given: Given = {}): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const exits: number[] = [];
  const output = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      written[name] += text;
    },
    isTTY: given.tty === true,
    columns: 100,
  });
  const handlers = new Set<(signal: 'SIGINT' | 'SIGTERM') => void>();
  given.signals?.((signal) => {
    for (const handler of handlers) handler(signal);
  });
  const missing = (what: string) => () => {
    throw new Error(`the test gave no ${what}`);
  };
  const context: CommandContext = {
    args,
    stdout: output('stdout'),
    stderr: output('stderr'),
    stdin: Readable.from(given.stdin ?? []),
    environment: given.environment ?? {},
    api: async () => (given.api ?? missing('api')()) as Api,
    demo: async () => given.demo ?? (missing('demo')() as never),
    onSignal: (handler) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    exitNow: (code) => exits.push(code),
  };
  const code = await runCli(context);
  return { code, ...written, exits };
}
