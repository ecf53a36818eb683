import { Tensor } from './core/tensor.js';
import { Tokenizer } from './data/tokenizer.js';
import { type ModelSource, openModel } from './formats/model-source.js';
import { buildCausalLm } from './models/build.js';
import { readModelConfig } from './models/index.js';
import { FinetuneError } from './native/errors.js';
import { checkedShape } from './trainer/weight-shapes.js';

/** What a model is, as far as its files say. */
export interface ModelInspection {
  path: string;
  /** safetensors, gguf, or config where there are no weights. */
  format: ModelSource['kind'];
  modelType: string;
  /** Whether this package can train it. */
  trainable: boolean;
  /** Why not. */
  reason?: string;
  parameters?: { total: number; embedding: number; attention: number; mlp: number; norms: number; head: number };
  layers?: number;
  hiddenSize?: number;
  intermediateSize?: number;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  contextTokens?: number;
  vocabulary?: number;
  /** Whether the head is the embedding. */
  tiedEmbeddings?: boolean;
  /** Tensors, elements and bytes by storage type. */
  storage: { type: string; tensors: number; parameters: number; bytes: number }[];
  weightBytes: number;
  tokenizer: boolean;
  chatTemplate: boolean;
}

/**
 * Architecture, sizes and storage types of a model: a Hugging Face folder, a GGUF file, or a bare config.json. Reads headers only.
 * A model that cannot be trained here is described too, with the reason.
 * @throws ERR_FILE, ERR_MODEL_CORRUPT for files that cannot be read at all
 */
export function inspectModel(path: string): ModelInspection {
  const { source, problem } = open(path);
  try {
    const storage = storageOf(source);
    const tokenizer = source.tokenizer && Tokenizer.fromJson(source.tokenizer.tokenizerJson, source.tokenizer.tokenizerConfig);
    const { shape, reason } = architectureOf(source);
    const why = problem ?? reason;
    return {
      path,
      format: source.kind,
      modelType: String(source.config.model_type),
      trainable: why === undefined,
      ...(why !== undefined && { reason: why }),
      ...shape,
      storage,
      weightBytes: storage.reduce((sum, s) => sum + s.bytes, 0),
      tokenizer: tokenizer !== undefined,
      chatTemplate: tokenizer?.chatTemplate !== undefined,
    };
  } finally {
    source.weights?.close();
  }
}

/** Weights of an unsupported storage type still leave the configuration to look at. */
function open(path: string): { source: ModelSource; problem?: string } {
  try {
    return { source: openModel(path) };
  } catch (error) {
    if (!(error instanceof FinetuneError) || error.code !== 'ERR_MODEL_UNSUPPORTED') throw error;
    return { source: openModel(path, { weights: false }), problem: error.message };
  }
}

function storageOf({ weights }: ModelSource): ModelInspection['storage'] {
  const types = new Map<string, ModelInspection['storage'][number]>();
  for (const name of weights?.names() ?? []) {
    const { dtype, shape } = (weights as NonNullable<typeof weights>).info(name);
    const t = Tensor.dry(dtype, shape);
    const entry = types.get(dtype) ?? { type: dtype, tensors: 0, parameters: 0, bytes: 0 };
    types.set(dtype, {
      type: dtype,
      tensors: entry.tensors + 1,
      parameters: entry.parameters + t.numElements,
      bytes: entry.bytes + t.bytes,
    });
  }
  return [...types.values()].sort((a, b) => b.bytes - a.bytes);
}

type Shape = Omit<
  ModelInspection,
  'path' | 'format' | 'modelType' | 'trainable' | 'reason' | 'storage' | 'weightBytes' | 'tokenizer' | 'chatTemplate'
>;

/** Sizes from the configuration, checked against the weights where there are some. */
function architectureOf({ config: values, path, weights }: ModelSource): { shape: Shape; reason?: string } {
  try {
    const config = readModelConfig(values, path);
    const model = buildCausalLm(config, (name, shape) => Tensor.dry(weights ? checkedShape(weights, name, shape) : 'f32', shape, name), {
      accumulator: 'f32',
      dry: true,
    });
    const parts = { total: 0, embedding: 0, attention: 0, mlp: 0, norms: 0, head: 0 };
    for (const p of model.parameters()) {
      parts.total += p.numElements;
      parts[partOf(p.name)] += p.numElements;
    }
    return {
      shape: {
        parameters: parts,
        layers: config.layers.length,
        hiddenSize: config.hiddenSize,
        intermediateSize: config.intermediateSize,
        heads: config.numHeads,
        kvHeads: config.numKvHeads,
        headDim: config.headDim,
        contextTokens: config.maxPositionEmbeddings,
        vocabulary: config.vocabSize,
        tiedEmbeddings: config.tieWordEmbeddings,
      },
    };
  } catch (error) {
    if (error instanceof FinetuneError && error.code.startsWith('ERR_MODEL_')) return { shape: {}, reason: error.message };
    throw error;
  }
}

function partOf(name: string): 'embedding' | 'attention' | 'mlp' | 'norms' | 'head' {
  if (/norm\.weight$/.test(name)) return 'norms';
  if (name.includes('.self_attn.')) return 'attention';
  if (name.includes('.mlp.')) return 'mlp';
  return name.startsWith('lm_head') ? 'head' : 'embedding';
}
