import { z } from 'zod';
import { resolveOptions } from './config/resolve.js';
import { trainConfigSchema } from './config/schema.js';
import { type DeviceName, threads } from './core/device.js';
import type { FloatType } from './core/dtype.js';
import { release, type Segment } from './core/memory.js';
import { Tokenizer } from './data/tokenizer.js';
import { HostContext } from './formats/host-ops.js';
import { type ModelSource, openModel } from './formats/model-source.js';
import { type AdapterConfig, readAdapter } from './formats/peft-adapter.js';
import { adapterTypes } from './formats/peft-config.js';
import { QuantizedWeights, type QuantizeSettings, type QuantizeType, quantizeType } from './formats/quantized-weights.js';
import type { WeightSource } from './formats/weights.js';
import { attachAdapter, methodOfAdapter } from './methods/attach.js';
import type { MethodName } from './methods/index.js';
import { materialize } from './methods/materialize.js';
import { buildCausalLm } from './models/build.js';
import type { CausalLm } from './models/causal-lm.js';
import { readModelConfig } from './models/index.js';
import { FinetuneError } from './native/errors.js';
import { checkedShape } from './trainer/weight-shapes.js';

const { device, dtype, threads: threadCount, quantize, doubleQuantization } = trainConfigSchema.shape;

const loadOptionsSchema = z.strictObject({
  path: z.string().min(1).describe('Model: a Hugging Face folder or a GGUF file'),
  adapter: z.string().min(1).optional().describe('PEFT adapter folder to put on the model'),
  device,
  dtype,
  threads: threadCount,
  quantize,
  doubleQuantization,
});

/** Settings of `loadModel`; only `path` is required. */
export type LoadModelOptions = z.input<typeof loadOptionsSchema> & {
  /** Checked before and after loading. */
  signal?: AbortSignal;
};

/** A model in memory with everything that was opened for it. Weights stay mapped; adapters have memory of their own. */
export class LoadedModel {
  readonly path: string;
  readonly adapterPath: string | undefined;
  /** The method that continues the adapter. */
  readonly adapterMethod: MethodName | undefined;
  readonly device: DeviceName;
  readonly dtype: FloatType;
  readonly quantization: QuantizeSettings;
  readonly source: ModelSource;
  readonly lm: CausalLm;
  readonly tokenizer: Tokenizer | undefined;
  /** Ids at which a generation ends: those of config.json, generation_config.json and the tokenizer. */
  readonly endIds: ReadonlySet<number>;
  readonly weights: WeightSource;
  private readonly adapterMemory: Segment | undefined;
  private readonly inUse = new Set<{ dispose(): void }>();
  private disposed = false;

  constructor(input: LoadModelOptions) {
    const { signal: _, ...rest } = input;
    const options = resolveOptions(loadOptionsSchema, rest);
    if (options.threads !== undefined) threads(options.threads);
    this.path = options.path;
    this.adapterPath = options.adapter;
    this.device = 'cpu';
    this.dtype = options.dtype;
    this.quantization = { quantize: options.quantize, doubleQuantization: options.doubleQuantization };
    this.source = openModel(options.path);
    this.weights = weightsOf(this.source, quantizeType(options));
    let lm: CausalLm | undefined;
    try {
      const { tokenizer } = this.source;
      this.tokenizer = tokenizer && Tokenizer.fromJson(tokenizer.tokenizerJson, tokenizer.tokenizerConfig);
      const config = readModelConfig(this.source.config, this.source.path);
      this.endIds = endIdsOf(this.source, this.tokenizer);
      lm = buildCausalLm(config, provider(this.weights), { accumulator: 'f32', dry: false });
      const adapter = options.adapter === undefined ? undefined : putAdapterOn(lm, options.adapter, this.device);
      this.adapterMemory = adapter?.memory;
      this.adapterMethod = adapter && methodOfAdapter(adapter.config);
      this.lm = lm;
    } catch (error) {
      lm?.dispose();
      this.weights.close();
      throw error;
    }
  }

  /** @throws ERR_DISPOSED after dispose */
  assertOpen(): void {
    if (this.disposed) throw new FinetuneError('ERR_DISPOSED', `the model ${this.path} was used after it was disposed; load it again`);
  }

  /** Has something given back with the model, in case its owner never does. */
  track(user: { dispose(): void }): void {
    this.inUse.add(user);
  }

  untrack(user: { dispose(): void }): void {
    this.inUse.delete(user);
  }

  /** Gives all memory back, that of generations at work too. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const user of this.inUse) user.dispose();
    this.lm.dispose();
    if (this.adapterMemory) release(this.adapterMemory);
    this.weights.close();
  }
}

function weightsOf(source: ModelSource, quantized: QuantizeType | undefined): WeightSource {
  const { weights } = source;
  if (weights && !quantized) return weights;
  if (weights && quantized) {
    try {
      return new QuantizedWeights(weights, quantized);
    } catch (error) {
      weights.close();
      throw error;
    }
  }
  throw new FinetuneError(
    'ERR_FILE',
    `${source.path}: has no weights, only a configuration. Give the folder with model.safetensors or a GGUF file.`,
    {
      path: source.path,
    },
  );
}

function provider(weights: WeightSource) {
  return (name: string, shape: readonly number[]) => {
    checkedShape(weights, name, shape);
    return weights.tensor(name).reshape(shape, name);
  };
}

function putAdapterOn(lm: CausalLm, path: string, device: DeviceName): { memory: Segment; config: AdapterConfig } {
  const adapter = readAdapter(path, { types: adapterTypes });
  try {
    const { trained, frozen = [] } = attachAdapter(lm, adapter, { dropout: 0, dtype: 'f32', trainable: false });
    return { memory: materialize([...trained, ...frozen], 'weights', new HostContext(device)), config: adapter.config };
  } finally {
    adapter.close();
  }
}

function endIdsOf(source: ModelSource, tokenizer: Tokenizer | undefined): Set<number> {
  const listed = [source.config.eos_token_id, source.generationConfig?.eos_token_id, tokenizer?.eosTokenId].flat();
  return new Set(listed.filter((id) => typeof id === 'number'));
}
