import { FinetuneError } from '../native/errors.js';
import type { DecoderConfig, LayerConfig } from './decoder-config.js';
import type { RawConfig } from './raw-config.js';
import { readRope } from './rope-scaling.js';

const activations: Record<string, DecoderConfig['activation']> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_new: 'gelu_tanh',
};

/** config.json's activation under the given key. */
export function readActivation(raw: RawConfig, key: string, fallback?: string): DecoderConfig['activation'] {
  const name = raw.string(key, fallback);
  const activation = activations[name];
  if (!activation)
    throw new FinetuneError(
      'ERR_MODEL_UNSUPPORTED',
      `${raw.where}: ${key} "${name}" is not supported; supported are ${Object.keys(activations).join(', ')}`,
    );
  return activation;
}

/** Layers with the sliding windows that `layer_types` names, or that `isSliding` says where it is absent. */
export function readLayers(raw: RawConfig, window: number, isSliding: (layer: number) => boolean): LayerConfig[] {
  const count = raw.int('num_hidden_layers');
  const types = raw.strings('layer_types');
  if (types && types.length !== count) raw.fail('layer_types', `a list of ${count} entries`);
  return Array.from({ length: count }, (_, i) => {
    const type = types?.[i] ?? (isSliding(i) ? 'sliding_attention' : 'full_attention');
    if (type !== 'sliding_attention' && type !== 'full_attention')
      throw new FinetuneError('ERR_MODEL_UNSUPPORTED', `${raw.where}: layer type "${type}" is not supported`);
    return { window: type === 'sliding_attention' ? window : 0, rope: 0 };
  });
}

/** The Llama reading of config.json; the other families override what differs. */
export function readDecoderConfig(raw: RawConfig): DecoderConfig {
  const hiddenSize = raw.int('hidden_size');
  const numHeads = raw.int('num_attention_heads');
  const headDim = raw.int('head_dim', Math.floor(hiddenSize / numHeads));
  const numKvHeads = raw.int('num_key_value_heads', numHeads);
  if (numHeads % numKvHeads !== 0) raw.fail('num_key_value_heads', `a divisor of num_attention_heads (${numHeads})`);
  const attentionBias = raw.bool('attention_bias', false);
  return {
    modelType: raw.string('model_type'),
    vocabSize: raw.int('vocab_size'),
    hiddenSize,
    intermediateSize: raw.int('intermediate_size'),
    numHeads,
    numKvHeads,
    headDim,
    maxPositionEmbeddings: raw.int('max_position_embeddings', 2048),
    rmsNormEps: raw.number('rms_norm_eps', 1e-6),
    normWeightOffset: 0,
    activation: readActivation(raw, 'hidden_act', 'silu'),
    tieWordEmbeddings: raw.bool('tie_word_embeddings', false),
    embeddingScale: 1,
    biases: { qkv: attentionBias, o: attentionBias, mlp: raw.bool('mlp_bias', false) },
    qkNorm: false,
    fusedProjections: false,
    postNorms: false,
    attentionScale: headDim ** -0.5,
    attentionSoftcap: 0,
    logitSoftcap: 0,
    layers: readLayers(raw, 0, () => false),
    ropes: [readRope(raw, headDim)],
    prefix: 'model.',
  };
}
