import type { DecoderConfig } from './decoder-config.js';
import type { RawConfig } from './raw-config.js';
import { readDecoderConfig, readLayers } from './read-config.js';

/** Mistral: Llama with a sliding window in every layer, where config.json sets one. */
export function mistral(raw: RawConfig): DecoderConfig {
  const window = raw.has('sliding_window') ? raw.int('sliding_window') : 0;
  return { ...readDecoderConfig(raw), layers: readLayers(raw, window, () => window > 0) };
}
