import { corruptFile, unsupportedFile } from './file-error.js';
import type { GgufFile } from './gguf.js';
import { type GgufArchitecture, ggufArchitectures } from './gguf-names.js';
import { ropeScaling } from './gguf-rope.js';
import { ggmlTypes } from './gguf-types.js';
import type { JsonObject } from './json-file.js';

/** The entry of the registry for a file. @throws ERR_MODEL_UNSUPPORTED, also for files that are no whole model */
export function architectureOf(file: GgufFile): GgufArchitecture {
  const { metadata, path } = file;
  const name = metadata.required('general.architecture', metadata.string('general.architecture'));
  const kind = metadata.string('general.type') ?? 'model';
  if (kind !== 'model') throw unsupportedFile(path, `it is a GGUF ${kind}, not a model`, 'Give the model it belongs to.');
  if ((metadata.integer('split.count') ?? 1) > 1)
    throw unsupportedFile(
      path,
      'it is one part of a split GGUF model',
      'Join the parts first: llama-gguf-split --merge FIRST_PART OUTPUT.',
    );
  const found = Object.hasOwn(ggufArchitectures, name) ? ggufArchitectures[name] : undefined;
  if (!found) throw unsupportedFile(path, `its architecture is ${name}`, `Supported are ${Object.keys(ggufArchitectures).join(', ')}.`);
  return found;
}

/** What config.json would say, from the metadata and the shapes of a GGUF file. @throws ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED */
export function configOf(file: GgufFile): JsonObject {
  const architecture = architectureOf(file);
  const { metadata } = file;
  const prefix = metadata.string('general.architecture') as string;
  const integer = (key: string): number | undefined => metadata.uniformInteger(`${prefix}.${key}`);
  const number = (key: string): number | undefined => metadata.number(`${prefix}.${key}`);
  const positive = (key: string): number => positiveInteger(file, `${prefix}.${key}`, integer(key));

  const hiddenSize = positive('embedding_length');
  const heads = positive('attention.head_count');
  const layers = positive('block_count');
  const headDim = integer('attention.key_length') ?? hiddenSize / heads;
  if (!Number.isInteger(headDim) || headDim === 0)
    throw corruptFile(
      file.path,
      `${heads} heads do not divide the embedding length ${hiddenSize}, and ${prefix}.attention.key_length is missing`,
    );
  if ((integer('attention.value_length') ?? headDim) !== headDim)
    throw unsupportedFile(file.path, 'keys and values have heads of different sizes', 'No supported architecture has that.');
  const isGemma = prefix.startsWith('gemma');
  const act = isGemma ? 'gelu_pytorch_tanh' : 'silu';
  return {
    architectures: [architecture.className],
    model_type: architecture.modelType,
    vocab_size:
      file.tensors.get('token_embd.weight')?.shape[0] ?? integer('vocab_size') ?? metadata.strings('tokenizer.ggml.tokens')?.length,
    hidden_size: hiddenSize,
    intermediate_size: positive('feed_forward_length'),
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: integer('attention.head_count_kv') ?? heads,
    head_dim: headDim,
    hidden_act: act,
    ...(isGemma && { hidden_activation: act }),
    max_position_embeddings: positive('context_length'),
    rms_norm_eps: metadata.required(`${prefix}.attention.layer_norm_rms_epsilon`, number('attention.layer_norm_rms_epsilon')),
    rope_theta: number('rope.freq_base') ?? 10000,
    rope_scaling: ropeScaling(file, prefix),
    attention_bias: file.tensors.has('blk.0.attn_q.bias'),
    mlp_bias: file.tensors.has('blk.0.ffn_gate.bias'),
    tie_word_embeddings: !file.tensors.has('output.weight'),
    bos_token_id: metadata.integer('tokenizer.ggml.bos_token_id') ?? null,
    eos_token_id: metadata.integer('tokenizer.ggml.eos_token_id') ?? null,
    pad_token_id: metadata.integer('tokenizer.ggml.padding_token_id') ?? null,
    torch_dtype: dtypeOf(file),
    ...familyKeys(file, prefix, { layers, heads, hiddenSize, headDim }),
  };
}

interface Sizes {
  layers: number;
  heads: number;
  hiddenSize: number;
  headDim: number;
}

function familyKeys(file: GgufFile, prefix: string, sizes: Sizes): JsonObject {
  const { metadata } = file;
  const slidingWindow = metadata.integer(`${prefix}.attention.sliding_window`) ?? null;
  switch (prefix) {
    case 'phi3': {
      const rotary = metadata.integer('phi3.rope.dimension_count') ?? sizes.headDim;
      return {
        sliding_window: slidingWindow,
        partial_rotary_factor: rotary / sizes.headDim,
        original_max_position_embeddings:
          metadata.integer('phi3.rope.scaling.original_context_length') ?? metadata.integer('phi3.context_length'),
      };
    }
    case 'gemma2':
      return {
        sliding_window: slidingWindow ?? 4096,
        layer_types: layerTypes(sizes.layers, 2),
        query_pre_attn_scalar: queryScalar(sizes, 46),
        attn_logit_softcapping: metadata.number('gemma2.attn_logit_softcapping') ?? 50,
        final_logit_softcapping: metadata.number('gemma2.final_logit_softcapping') ?? 30,
      };
    case 'gemma3':
      return {
        sliding_window: slidingWindow ?? 1024,
        layer_types: layerTypes(sizes.layers, 6),
        query_pre_attn_scalar: queryScalar(sizes, 62),
        rope_local_base_freq: metadata.number('gemma3.rope.freq_base_swa') ?? 10000,
        attn_logit_softcapping: null,
        final_logit_softcapping: metadata.number('gemma3.final_logit_softcapping') ?? null,
      };
    case 'llama':
      return slidingWindow ? { model_type: 'mistral', architectures: ['MistralForCausalLM'], sliding_window: slidingWindow } : {};
    case 'qwen2':
    case 'qwen3':
      return { use_sliding_window: false, sliding_window: null };
    default:
      return {};
  }
}

// Every `period`-th layer sees all positions, the others a window.
function layerTypes(layers: number, period: number): string[] {
  return Array.from({ length: layers }, (_, i) => ((i + 1) % period === 0 ? 'full_attention' : 'sliding_attention'));
}

// GGUF does not store it: only the 27B models of Gemma 2 and 3 (46 and 62 layers) scale by hidden / heads, the others by the head size.
function queryScalar({ layers, heads, hiddenSize, headDim }: Sizes, layersOf27B: number): number {
  return layers === layersOf27B ? hiddenSize / heads : headDim;
}

// The type of the matrices; quantized values are no exact 16-bit numbers, so float32 stands for them.
function dtypeOf(file: GgufFile): string {
  const typeNumber = file.tensors.get('blk.0.attn_output.weight')?.type ?? 0;
  return { f16: 'float16', bf16: 'bfloat16' }[ggmlTypes.get(typeNumber)?.dtype as 'f16' | 'bf16'] ?? 'float32';
}

function positiveInteger(file: GgufFile, key: string, value: number | undefined): number {
  const present = file.metadata.required(key, value);
  if (present < 1) throw corruptFile(file.path, `the metadata key ${key} must be at least 1, got ${present}`);
  return present;
}
