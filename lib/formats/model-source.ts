import { statSync } from 'node:fs';
import { FinetuneError } from '../native/errors.js';
import { fileError } from './file-error.js';
import { modelFormats } from './index.js';
import type { WeightSource } from './weights.js';

export interface TokenizerFiles {
  /** Contents of tokenizer.json, or the equivalent made from GGUF metadata. */
  tokenizerJson: Record<string, unknown>;
  /** Contents of tokenizer_config.json; `chat_template` is one string or absent, wherever the folder keeps its template. */
  tokenizerConfig: Record<string, unknown>;
}

/** A model as it lies on disk: configuration, weights, tokenizer. Whoever opened it closes `weights`. */
export interface ModelSource {
  /** As given. */
  path: string;
  kind: 'safetensors' | 'gguf' | 'config';
  /** config.json, or the equivalent derived from GGUF metadata. */
  config: Record<string, unknown>;
  /** undefined for a bare config.json, and when opened with `weights: false`. */
  weights: WeightSource | undefined;
  tokenizer: TokenizerFiles | undefined;
  generationConfig: Record<string, unknown> | undefined;
  /** Every file read, for reports. */
  files: string[];
  /** Files that an export copies unchanged. */
  passthroughFiles: string[];
}

export interface OpenModelOptions {
  /** false: configuration and tokenizer only, for plans. Default true. */
  weights?: boolean;
}

/**
 * Opens a model: a Hugging Face folder (config.json with safetensors, single or sharded), a folder with a .gguf file, a .gguf
 * file, or a config.json (file or folder) without weights. Weights are mapped, not read.
 * @throws ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED naming the file
 */
export function openModel(path: string, options: OpenModelOptions = {}): ModelSource {
  try {
    statSync(path);
  } catch (cause) {
    throw fileError(path, 'open this model', cause);
  }
  for (const format of modelFormats) if (format.sniff(path)) return format.open(path, options);
  const wanted = modelFormats.map((f) => f.describes).join('; ');
  throw new FinetuneError('ERR_FILE', `${path}: is no model. Wanted: ${wanted}.`, { path });
}
