import type { DecoderConfig } from './decoder-config.js';
import { gemma } from './gemma.js';
import type { RawConfig } from './raw-config.js';
import { readLayers } from './read-config.js';
import { ropeFrequencies } from './rope-scaling.js';

/**
 * Gemma 3, text: Gemma with norms around every sub-layer and on query and key heads; five layers with a sliding window and a
 * local rope, then one with full attention and a rope of its own.
 */
export function gemma3Text(raw: RawConfig): DecoderConfig {
  const config = gemma(raw);
  const pattern = raw.int('sliding_window_pattern', 6);
  const layers = readLayers(raw, raw.int('sliding_window', 4096), (layer) => (layer + 1) % pattern !== 0);
  const parameters = raw.object('rope_parameters');
  const full = parameters?.object('full_attention');
  const sliding = parameters?.object('sliding_attention');
  const globalTheta = full?.has('rope_theta') ? full.number('rope_theta') : raw.number('rope_theta', 1_000_000);
  const localTheta = sliding?.has('rope_theta') ? sliding.number('rope_theta') : raw.number('rope_local_base_freq', 10_000);
  return {
    ...config,
    qkNorm: true,
    postNorms: true,
    attentionScale: raw.number('query_pre_attn_scalar', 256) ** -0.5,
    logitSoftcap: raw.has('final_logit_softcapping') ? raw.number('final_logit_softcapping') : 0,
    layers: layers.map((l) => ({ ...l, rope: l.window > 0 ? 1 : 0 })),
    ropes: [
      ropeFrequencies(globalTheta, config.headDim, full ?? raw.object('rope_scaling')),
      ropeFrequencies(localTheta, config.headDim, sliding),
    ],
  };
}
