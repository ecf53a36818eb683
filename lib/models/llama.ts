import type { DecoderConfig } from './decoder-config.js';
import type { RawConfig } from './raw-config.js';
import { readDecoderConfig } from './read-config.js';

/** Llama 2, 3.x, SmolLM2 and everything else with model_type "llama". */
export function llama(raw: RawConfig): DecoderConfig {
  return readDecoderConfig(raw);
}
