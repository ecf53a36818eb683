import type { DecoderConfig } from './decoder-config.js';
import type { RawConfig } from './raw-config.js';
import { readDecoderConfig, readLayers } from './read-config.js';

/** Qwen2 and Qwen2.5: biases on q, k, v; a sliding window from layer max_window_layers on, when switched on. */
export function qwen2(raw: RawConfig): DecoderConfig {
  const slides = raw.bool('use_sliding_window', false) && raw.has('sliding_window');
  const window = slides ? raw.int('sliding_window') : 0;
  const first = raw.number('max_window_layers', 28);
  return {
    ...readDecoderConfig(raw),
    biases: { qkv: true, o: false, mlp: false },
    layers: readLayers(raw, window, (layer) => slides && layer >= first),
  };
}
