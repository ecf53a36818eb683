import { resolveOptions } from './config/resolve.js';
import type { TrainConfigInput } from './config/schema.js';
import type { ChatMessage } from './data/chat-template.js';
import type { Tokenizer } from './data/tokenizer.js';
import { type EvaluateResult, evaluateModel } from './evaluate-model.js';
import type { EvaluateOptions } from './evaluate-options.js';
import { generateIds, generateText } from './generate/generate.js';
import { type GenerateOptions, generateOptionsSchema, type ResolvedGenerateOptions } from './generate/options.js';
import { checkIds, checkPrompt, encodePrompt } from './generate/prompt.js';
import { sequenceLogits } from './generate/prompt-logits.js';
import { LoadedModel, type LoadModelOptions } from './loaded-model.js';
import { type MergeOptions, type MergeResult, mergeModel } from './merge.js';
import { FinetuneError } from './native/errors.js';
import { type TrainingRun, train } from './trainer/training-run.js';

/**
 * A model that generates, evaluates and merges. Weights stay in the mapped file. Give it back with dispose(), or hold it with
 * `await using`; every use afterwards throws ERR_DISPOSED.
 */
export class Model implements AsyncDisposable, Disposable {
  private readonly loaded: LoadedModel;

  /** Use `loadModel`. @internal */
  constructor(loaded: LoadedModel) {
    this.loaded = loaded;
  }

  /** Whether the tokenizer comes with a chat template. */
  get hasChatTemplate(): boolean {
    return this.loaded.tokenizer?.chatTemplate !== undefined;
  }

  /** undefined where the model has none: then only token ids can be given. */
  get tokenizer(): Tokenizer | undefined {
    return this.loaded.tokenizer;
  }

  /**
   * Continues a text, or answers messages through the chat template. Yields pieces of text as they come.
   * @param prompt raw text, which gets a BOS token where the tokenizer puts one, or messages
   * @param options maxNewTokens (256), temperature (0 = greedy), topK (0 = off), topP (1 = off), seed (42), stopStrings, signal
   * @throws ERR_DISPOSED, ERR_CONFIG_INVALID, ERR_MODEL_UNSUPPORTED without a tokenizer, ERR_DATA_INVALID for a prompt that is empty or
   *   as long as the context
   */
  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions = {}): AsyncIterable<string> {
    this.loaded.assertOpen();
    const { settings, signal } = resolveGenerate(options);
    const tokenizer = this.requireTokenizer();
    const ids = encodePrompt(tokenizer, prompt);
    checkPrompt(ids, this.loaded);
    return generateText(this.loaded, tokenizer, { ids, continuesText: typeof prompt === 'string' }, settings, signal);
  }

  /**
   * Token ids that continue token ids; the last one is the end-of-sequence token where it came. No BOS token is added, and
   * stopStrings are not looked at.
   */
  async generateTokens(ids: ArrayLike<number>, options: GenerateOptions = {}): Promise<number[]> {
    this.loaded.assertOpen();
    const { settings, signal } = resolveGenerate(options);
    const prompt = Array.from(ids);
    checkPrompt(prompt, this.loaded);
    const made: number[] = [];
    for await (const id of generateIds(this.loaded, prompt, settings, signal)) made.push(id);
    return made;
  }

  /** Logits of every position of a sequence, one row [V] each. */
  logits(ids: ArrayLike<number>): Float32Array[] {
    this.loaded.assertOpen();
    checkIds(Array.from(ids), this.loaded);
    const y = sequenceLogits(this.loaded, ids);
    try {
      const values = y.read() as Float32Array;
      return Array.from({ length: y.rows }, (_, row) => values.subarray(row * y.cols, (row + 1) * y.cols));
    } finally {
      y.dispose();
    }
  }

  /**
   * Trains this model in a worker thread. Settings are those of `train` without `model`; an adapter that was loaded with the model is
   * continued. This object keeps the weights it was loaded with: load the result to use it.
   * @throws ERR_CONFIG_INVALID at once, with every problem; everything later rejects the run
   */
  train(config: Omit<TrainConfigInput, 'model'>, hooks: { signal?: AbortSignal } = {}): TrainingRun {
    this.loaded.assertOpen();
    const { path, dtype, adapterPath, adapterMethod, quantization } = this.loaded;
    const asked = config.method ?? (adapterMethod && ({ type: adapterMethod } as NonNullable<TrainConfigInput['method']>));
    const method = asked && asked.type === adapterMethod ? ({ initAdapter: adapterPath, ...asked } as typeof asked) : asked;
    return train({ dtype: dtype as 'f32' | 'bf16', ...quantization, ...config, model: path, ...(method && { method }) }, hooks);
  }

  /**
   * Token-weighted loss and perplexity on data, read as for training.
   * @param data file in any format that `train` takes
   * @param options maxLength, batchSize, packing, trainOn, format, appendEos, promptsAsChat as in `train`; logits: a safetensors file to
   *   write, with input_ids.<i> [T] and logits.<i> [T, V] for every example; signal
   */
  async evaluate(data: string, options: EvaluateOptions = {}): Promise<EvaluateResult> {
    return evaluateModel(this.loaded, data, options);
  }

  /**
   * Writes a complete Hugging Face model folder with the adapter merged into the weights.
   * @param options dtype: storage type, default that of the model, bf16 for quantized ones; base: where the model was quantized on load,
   *   `dequantized` (default) adds the adapter to the weights it was trained on, `original` to those of the file; overwrite: replace an
   *   existing folder. Over a quantized base the result says how far the merged model is from the trained one.
   * @throws ERR_CONFIG_INVALID without an adapter, ERR_FILE
   */
  async merge(out: string, options: MergeOptions = {}): Promise<MergeResult> {
    return mergeModel(this.loaded, out, options);
  }

  /** Gives all memory back; may be called twice. */
  dispose(): void {
    this.loaded.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  private requireTokenizer(): Tokenizer {
    const { tokenizer, path } = this.loaded;
    if (tokenizer) return tokenizer;
    throw new FinetuneError(
      'ERR_MODEL_UNSUPPORTED',
      `${path}: has no tokenizer.json, so text cannot become tokens; add it, or give token ids`,
      {
        path,
      },
    );
  }
}

function resolveGenerate({ signal, ...options }: GenerateOptions): { settings: ResolvedGenerateOptions; signal: AbortSignal | undefined } {
  return { settings: resolveOptions(generateOptionsSchema, options), signal };
}

/**
 * Loads a model, with or without a PEFT adapter, for generation, evaluation and merging.
 * @param options path: Hugging Face folder or GGUF file; adapter: PEFT folder; device; dtype of activations (f32); threads; signal
 * @throws ERR_CONFIG_INVALID, ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED, ERR_ADAPTER_MISMATCH
 * @example
 * ```ts
 * await using model = await loadModel({ path: './SmolLM2-135M', adapter: './adapter' });
 * for await (const text of model.generate([{ role: 'user', content: 'Hello' }])) process.stdout.write(text);
 * ```
 */
export async function loadModel(options: LoadModelOptions): Promise<Model> {
  options.signal?.throwIfAborted();
  return new Model(new LoadedModel(options));
}
