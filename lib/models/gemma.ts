import type { DecoderConfig } from './decoder-config.js';
import { RawConfig } from './raw-config.js';
import { readActivation, readDecoderConfig } from './read-config.js';

/** Gemma 1: norm weights stored minus 1, embeddings scaled by sqrt(hidden_size), GELU (tanh form), tied head. */
export function gemma(raw: RawConfig): DecoderConfig {
  const defaults = new RawConfig({ head_dim: 256, tie_word_embeddings: true, ...raw.values }, raw.where);
  const config = readDecoderConfig(new RawConfig({ ...defaults.values, hidden_act: 'silu' }, raw.where));
  const key = raw.has('hidden_activation') ? 'hidden_activation' : 'hidden_act';
  // The first releases of Gemma 1 say "gelu" and mean the tanh form they were trained with.
  const isLegacyGelu = key === 'hidden_act' && raw.values.hidden_act === 'gelu';
  return {
    ...config,
    normWeightOffset: 1,
    embeddingScale: Math.sqrt(config.hiddenSize),
    activation: isLegacyGelu ? 'gelu_tanh' : readActivation(raw, key, 'gelu_pytorch_tanh'),
  };
}
