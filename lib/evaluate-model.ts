import { setImmediate } from 'node:timers/promises';
import { resolveOptions } from './config/resolve.js';
import { allocate, release } from './core/memory.js';
import { Program } from './core/program.js';
import { Tensor } from './core/tensor.js';
import { BatchPlan } from './data/batching.js';
import { loadDataset } from './data/dataset.js';
import type { Example } from './data/example.js';
import { type EvaluateOptions, evaluateOptionsSchema } from './evaluate-options.js';
import { type TensorToWrite, writeSafetensors } from './formats/safetensors-writer.js';
import { sequenceLogits } from './generate/prompt-logits.js';
import type { LoadedModel } from './loaded-model.js';
import { BatchBuffers, type HostBatch } from './models/batch.js';
import { checkTokens } from './trainer/check-tokens.js';

export interface EvaluateResult {
  /** Mean negative log-likelihood per learned token, in nats. */
  loss: number;
  /** exp(loss) */
  perplexity: number;
  /** Learned tokens that the loss is the mean of. */
  tokens: number;
  examples: number;
  /** Examples that lost their end at maxLength. */
  truncated: number;
  /** What is odd about the data. */
  warnings: string[];
  /** File with the logits, where one was asked for. */
  logits?: string;
}

/** Token-weighted loss of a model on data. */
export async function evaluateModel(model: LoadedModel, data: string, input: EvaluateOptions): Promise<EvaluateResult> {
  const { signal, ...rest } = input;
  const { logits, batchSize, packing, cacheDir, ...options } = resolveOptions(evaluateOptionsSchema, rest);
  model.assertOpen();
  const { examples, report } = await loadDataset(data, model.tokenizer, { ...options, ...(cacheDir !== undefined && { cacheDir }) });
  signal?.throwIfAborted();
  checkTokens(examples, model.lm.config, model.path);
  const plan = new BatchPlan(examples, {
    batchSize,
    packing,
    maxLength: options.maxLength,
    gradientAccumulationSteps: 1,
    shuffle: false,
    seed: 0,
  });
  const { sum, tokens } = await sumLosses(model, plan, signal);
  if (logits !== undefined) writeLogits(model, examples, logits);
  const loss = sum / tokens;
  return {
    loss,
    perplexity: Math.exp(loss),
    tokens,
    examples: examples.length,
    truncated: report.truncated,
    warnings: report.warnings,
    ...(logits !== undefined && { logits }),
  };
}

/** Sum of the losses over all batches; other work of the event loop runs between them. */
async function sumLosses(model: LoadedModel, plan: BatchPlan, signal: AbortSignal | undefined): Promise<{ sum: number; tokens: number }> {
  model.assertOpen();
  const evaluation = new LossEvaluation(model, plan.capacity);
  try {
    let sum = 0;
    let tokens = 0;
    for (let step = 0; step < plan.stepsPerEpoch(0); step++) {
      for (const batch of plan.step(0, step)) {
        sum += evaluation.loss(batch);
        tokens += batch.labelRows.length;
      }
      await setImmediate();
      signal?.throwIfAborted();
    }
    return { sum, tokens };
  } finally {
    evaluation.dispose();
  }
}

/** Memory and program of the largest batch. */
class LossEvaluation {
  private readonly model: LoadedModel;
  private readonly program: Program;
  private readonly buffers: BatchBuffers;
  private readonly arena: ReturnType<typeof allocate>;
  private disposed = false;

  constructor(model: LoadedModel, capacity: BatchPlan['capacity']) {
    this.model = model;
    const dry = new BatchBuffers(capacity, 'f32', true).full();
    this.program = new Program(model, (run) => model.lm.loss(dry, run));
    this.buffers = new BatchBuffers(capacity, 'f32', false);
    try {
      this.arena = allocate(this.program.bytes, 'arena');
    } catch (error) {
      this.buffers.dispose();
      throw error;
    }
    model.track(this);
  }

  /** Sum of the negative log-likelihoods of a batch. */
  loss(host: HostBatch): number {
    this.model.assertOpen();
    const batch = this.buffers.load(host, 1);
    batch.lossSum.write([0]);
    this.program.run(this.arena, (run) => this.model.lm.loss(batch, run));
    return batch.lossSum.read()[0] as number;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    release(this.arena);
    this.buffers.dispose();
    this.model.untrack(this);
  }
}

/** One tensor of ids [T] and one of logits [T, V] per example; the logits of one example are in memory at a time. */
function writeLogits(model: LoadedModel, examples: readonly Example[], path: string): void {
  const { vocabSize } = model.lm.config;
  const tensors = examples.flatMap(({ inputIds }, i): TensorToWrite[] => [
    {
      name: `input_ids.${i}`,
      tensor: {
        dtype: 'i32',
        shape: [inputIds.length],
        make: () => Tensor.from('i32', [inputIds.length], inputIds),
        release: (t) => t.dispose(),
      },
    },
    {
      name: `logits.${i}`,
      tensor: {
        dtype: 'f32',
        shape: [inputIds.length, vocabSize],
        make: () => sequenceLogits(model, inputIds),
        release: (t) => t.dispose(),
      },
    },
  ]);
  writeSafetensors(path, tensors);
}
