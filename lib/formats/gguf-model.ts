import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { release } from '../core/memory.js';
import { FinetuneError } from '../native/errors.js';
import { corruptFile, fileError, shown } from './file-error.js';
import { type GgufFile, openGguf } from './gguf.js';
import { architectureOf, configOf } from './gguf-config.js';
import { tokenizerOf } from './gguf-tokenizer.js';
import { GgufWeights } from './gguf-weights.js';
import { listFolder, readSideFiles } from './hf-folder.js';
import type { JsonObject } from './json-file.js';
import type { ModelSource, OpenModelOptions, TokenizerFiles } from './model-source.js';

/** Whether `path` is a GGUF file, or a folder with one and no safetensors weights. */
export function isGgufModel(path: string): boolean {
  if (!statSync(path).isDirectory()) return path.endsWith('.gguf') || beginsWithMagic(path);
  const files = listFolder(path);
  return files.some((f) => f.endsWith('.gguf')) && !files.some((f) => f.endsWith('.safetensors') && !f.startsWith('adapter_'));
}

/**
 * Opens a GGUF file, or a folder with exactly one. config.json and tokenizer.json beside it win over the metadata.
 * @throws ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED
 */
export function openGgufModel(path: string, options: OpenModelOptions): ModelSource {
  const file = openGguf(ggufFileIn(path));
  try {
    return source(path, file, options);
  } catch (error) {
    release(file.map);
    throw error;
  }
}

function source(path: string, file: GgufFile, options: OpenModelOptions): ModelSource {
  const architecture = architectureOf(file);
  const derived = configOf(file);
  const side = statSync(path).isDirectory() ? readSideFiles(path) : undefined;
  if (side?.config) checkSameFamily(side.config, derived, file.path);
  const tokenizer = side?.tokenizer ?? checkedTokenizer(file, derived);
  const counts = {
    heads: derived.num_attention_heads as number,
    kvHeads: derived.num_key_value_heads as number,
    layers: derived.num_hidden_layers as number,
  };
  const weights = options.weights === false ? undefined : new GgufWeights(file, architecture, counts);
  if (!weights) release(file.map);
  return {
    path,
    kind: 'gguf',
    config: side?.config ?? derived,
    weights,
    tokenizer,
    generationConfig: side?.generationConfig ?? generationConfigOf(file),
    files: [file.path, ...(side?.read ?? [])],
    passthroughFiles: side?.passthrough ?? [],
  };
}

function ggufFileIn(path: string): string {
  if (!statSync(path).isDirectory()) return path;
  const files = listFolder(path).filter((f) => f.endsWith('.gguf'));
  if (files.length > 1)
    throw new FinetuneError('ERR_FILE', `${path}: has ${files.length} GGUF files. Give one of them: ${files.slice(0, 8).join(', ')}.`, {
      path,
      files,
    });
  return join(path, files[0] as string);
}

function beginsWithMagic(path: string): boolean {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const bytes = Buffer.alloc(4);
    return readSync(file, bytes, 0, 4, 0) === 4 && bytes.toString('latin1') === 'GGUF';
  } catch (cause) {
    throw fileError(path, 'read it', cause);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

// Mistral is stored as llama; Gemma 3's text part is called gemma3 or gemma3_text.
function checkSameFamily(config: JsonObject, derived: JsonObject, path: string): void {
  const family = (type: unknown): unknown => (type === 'mistral' ? 'llama' : type === 'gemma3' ? 'gemma3_text' : type);
  if (family(config.model_type) === family(derived.model_type)) return;
  throw corruptFile(
    path,
    `it holds a ${derived.model_type} model, but config.json beside it says ${shown(config.model_type)}`,
    'Move one of them to another folder.',
  );
}

function checkedTokenizer(file: GgufFile, derived: JsonObject): TokenizerFiles | undefined {
  const tokens = file.metadata.strings('tokenizer.ggml.tokens')?.length ?? 0;
  const rows = derived.vocab_size as number;
  if (tokens > rows) throw corruptFile(file.path, `the vocabulary has ${tokens} tokens, the embedding only ${rows} rows`);
  return tokenizerOf(file.metadata, file.path);
}

// Chat models end a turn with a token of its own besides the end of the text: generation stops at either.
function generationConfigOf({ metadata }: GgufFile): JsonObject | undefined {
  const eos = metadata.integer('tokenizer.ggml.eos_token_id');
  if (eos === undefined) return undefined;
  const eot = metadata.integer('tokenizer.ggml.eot_token_id') ?? eos;
  const bos = metadata.integer('tokenizer.ggml.bos_token_id');
  const pad = metadata.integer('tokenizer.ggml.padding_token_id');
  return {
    ...(bos !== undefined && { bos_token_id: bos }),
    eos_token_id: eot === eos ? eos : [eos, eot],
    ...(pad !== undefined && { pad_token_id: pad }),
  };
}
