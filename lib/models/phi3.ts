import type { DecoderConfig } from './decoder-config.js';
import type { RawConfig } from './raw-config.js';
import { readDecoderConfig, readLayers } from './read-config.js';

/** Phi-3: q, k, v in one matrix, gate and up in another; partial rotary; a sliding window in every layer. */
export function phi3(raw: RawConfig): DecoderConfig {
  const window = raw.has('sliding_window') ? raw.int('sliding_window') : 0;
  return {
    ...readDecoderConfig(raw),
    fusedProjections: true,
    biases: { qkv: false, o: false, mlp: false },
    layers: readLayers(raw, window, () => window > 0),
  };
}
