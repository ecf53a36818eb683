import type { PlanConfigInput, TrainConfigInput } from '../config/schema.js';
import type { DataInspection } from '../data/inspect.js';
import type { PlanReport, TrainEvent, TrainResult } from '../trainer/events.js';
import type { ChatMessage, EvaluateOptions, GenerateOptions, InspectDataOptions } from './options.js';

export interface TrainingRun extends AsyncIterable<TrainEvent>, PromiseLike<TrainResult> {
  /** Finishes the step, writes a checkpoint and resolves with status 'stopped'. */
  stop(): Promise<void>;
}

export interface EvaluateResult {
  loss: number;
  perplexity: number;
  tokens: number;
  [key: string]: unknown;
}

export interface Model extends AsyncDisposable {
  /** Whether the tokenizer comes with a chat template. */
  readonly hasChatTemplate: boolean;
  generate(prompt: string | ChatMessage[], options: GenerateOptions & { signal?: AbortSignal }): AsyncIterable<string>;
  evaluate(data: string, options: EvaluateOptions): Promise<EvaluateResult>;
  merge(out: string, options: { dtype?: string; overwrite?: boolean }): Promise<object>;
}

export interface Proposal {
  config: PlanConfigInput;
  plan: PlanReport;
}

/** The part of the library that the commands use; lib/index.ts fits it. */
export interface Api {
  loadModel(options: {
    path: string;
    adapter?: string;
    device?: string;
    dtype?: string;
    threads?: number;
    signal?: AbortSignal;
  }): Promise<Model>;
  train(config: TrainConfigInput, hooks?: { signal?: AbortSignal }): TrainingRun;
  plan(config: PlanConfigInput): PlanReport | Promise<PlanReport>;
  planFit(config: PlanConfigInput, limitBytes: number): Proposal[] | Promise<Proposal[]>;
  inspectModel(path: string): object | Promise<object>;
  inspectData(options: InspectDataOptions): Promise<DataInspection>;
  doctor(): object | Promise<object>;
}

/** The demonstration, lib/demo.ts. */
export interface Demo {
  /** Trains the model that comes with the package and shows text before and after, and the memory table. */
  runDemo(options: { write(text: string): unknown; signal: AbortSignal }): Promise<unknown>;
}
