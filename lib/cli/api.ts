import type { TrainConfigInput } from '../config/schema.js';
import type { ChatMessage } from '../data/chat-template.js';
import type { EvaluateResult } from '../evaluate-model.js';
import type { EvaluateOptions } from '../evaluate-options.js';
import type { GenerateOptions } from '../generate/options.js';
import type { LoadModelOptions } from '../loaded-model.js';
import type { MergeOptions, MergeResult } from '../merge.js';
import type { TrainEvent, TrainResult } from '../trainer/events.js';

type Library = typeof import('../index.js');

/** The part of a training run that the commands use. */
export interface TrainingRun extends AsyncIterable<TrainEvent>, PromiseLike<TrainResult> {
  stop(): Promise<void>;
}

/** The part of a model that the commands use. */
export interface Model extends AsyncDisposable {
  readonly hasChatTemplate: boolean;
  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions): AsyncIterable<string>;
  evaluate(data: string, options: EvaluateOptions): Promise<EvaluateResult>;
  merge(out: string, options: MergeOptions): Promise<MergeResult>;
}

/** The part of the library (lib/index.ts) that the commands use: what a test has to stand in for. */
export interface Api extends Pick<Library, 'plan' | 'planFit' | 'planCompare' | 'inspectModel' | 'inspectData' | 'doctor'> {
  loadModel(options: LoadModelOptions): Promise<Model>;
  train(config: TrainConfigInput): TrainingRun;
}

/** The demonstration, lib/demo.ts. */
export interface Demo {
  /** Trains the model that comes with the package and shows text before and after, and the memory table. */
  runDemo(options: { write(text: string): unknown; signal: AbortSignal }): Promise<unknown>;
}
