import type { DecoderConfig } from './decoder-config.js';
import { gemma } from './gemma.js';
import type { RawConfig } from './raw-config.js';
import { readLayers } from './read-config.js';

/** Gemma 2: Gemma with norms around every sub-layer, soft caps, query_pre_attn_scalar, sliding window in every other layer. */
export function gemma2(raw: RawConfig): DecoderConfig {
  return {
    ...gemma(raw),
    postNorms: true,
    attentionScale: raw.number('query_pre_attn_scalar', 256) ** -0.5,
    attentionSoftcap: softcap(raw, 'attn_logit_softcapping', 50),
    logitSoftcap: softcap(raw, 'final_logit_softcapping', 30),
    layers: readLayers(raw, raw.int('sliding_window', 4096), (layer) => layer % 2 === 0),
  };
}

// null switches a cap off; absent means the family's default.
function softcap(raw: RawConfig, key: string, fallback: number): number {
  return raw.values[key] === null ? 0 : raw.number(key, fallback);
}
