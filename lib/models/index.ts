import { FinetuneError } from '../native/errors.js';
import type { DecoderConfig } from './decoder-config.js';
import { gemma } from './gemma.js';
import { gemma2 } from './gemma2.js';
import { gemma3Text } from './gemma3_text.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { RawConfig } from './raw-config.js';

/** The registry of architectures by config.json's `model_type`, one line each. */
export const models: Record<string, (raw: RawConfig) => DecoderConfig> = {
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  gemma,
  gemma2,
  gemma3_text: gemma3Text,
};

/**
 * Reads config.json of any supported architecture.
 * @throws ERR_MODEL_UNSUPPORTED for an unknown model_type, ERR_MODEL_CORRUPT for a missing or wrong value
 */
export function readModelConfig(values: Readonly<Record<string, unknown>>, where = 'config.json'): DecoderConfig {
  const raw = new RawConfig(values, where);
  const type = raw.string('model_type');
  const read = models[type];
  if (!read)
    throw new FinetuneError(
      'ERR_MODEL_UNSUPPORTED',
      `${where}: model_type "${type}" is not supported; supported are ${Object.keys(models).join(', ')}`,
      { modelType: type, supported: Object.keys(models) },
    );
  return read(raw);
}
