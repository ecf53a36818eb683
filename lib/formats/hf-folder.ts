import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FinetuneError } from '../native/errors.js';
import { BitsAndBytesWeights, isBitsAndBytes } from './bitsandbytes-weights.js';
import { fileError, shown, unsupportedFile } from './file-error.js';
import { isObject, type JsonObject, readJsonFile, readTextFile } from './json-file.js';
import type { ModelSource, OpenModelOptions, TokenizerFiles } from './model-source.js';
import { SafetensorsSource } from './safetensors.js';

/** Files beside the weights that an export passes through unchanged. */
const sideFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
  'generation_config.json',
  'chat_template.jinja',
];

const maxConfigBytes = 16 * 2 ** 20;

/** What a folder holds besides weights; also used for the files beside a GGUF file. */
export interface SideFiles {
  config: JsonObject | undefined;
  tokenizer: TokenizerFiles | undefined;
  generationConfig: JsonObject | undefined;
  /** Files that were read. */
  read: string[];
  passthrough: string[];
}

/** Whether `path` is a config.json, or a folder with one or with safetensors weights. */
export function isHfModel(path: string): boolean {
  if (!statSync(path).isDirectory()) return basename(path).endsWith('.json');
  return ['config.json', 'model.safetensors', 'model.safetensors.index.json'].some((f) => existsSync(join(path, f)));
}

/** Opens what isHfModel accepts. @throws ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED */
export function openHfModel(path: string, options: OpenModelOptions): ModelSource {
  if (!statSync(path).isDirectory()) return openBareConfig(path);
  const side = readSideFiles(path);
  if (!side.config)
    throw new FinetuneError('ERR_FILE', `${path}: has weights but no config.json. Add the config.json that belongs to them.`, { path });
  const weightFile = findWeights(path);
  if (weightFile) checkQuantization(side.config, path);
  const source: ModelSource = {
    path,
    kind: weightFile ? 'safetensors' : 'config',
    config: side.config,
    weights: undefined,
    tokenizer: side.tokenizer,
    generationConfig: side.generationConfig,
    files: side.read,
    passthroughFiles: side.passthrough,
  };
  if (weightFile && options.weights !== false) {
    const weights = weightFile.endsWith('.json') ? SafetensorsSource.openIndex(weightFile) : SafetensorsSource.openFile(weightFile);
    source.weights = isBitsAndBytes(weights) ? bitsAndBytes(weights, weightFile) : weights;
    source.files = [...new Set([...side.read, weightFile, ...weights.files()])];
  }
  return source;
}

function bitsAndBytes(weights: SafetensorsSource, path: string): BitsAndBytesWeights {
  try {
    return new BitsAndBytesWeights(weights, path);
  } catch (error) {
    weights.close();
    throw error;
  }
}

// Codes and scales of other schemes would be taken for weights, or be missed one by one.
function checkQuantization({ quantization_config: config }: JsonObject, folder: string): void {
  if (!isObject(config) || config.quant_method === undefined) return;
  const is4Bit = config.quant_method === 'bitsandbytes' && config.load_in_8bit !== true;
  if (is4Bit) return;
  const method = config.quant_method === 'bitsandbytes' ? 'bitsandbytes in 8 bits' : shown(config.quant_method);
  throw unsupportedFile(
    join(folder, 'config.json'),
    `the weights were quantized with ${method}`,
    'Supported are bitsandbytes in 4 bits (nf4) and GGUF files; or take the unquantized model with quantize: nf4 or int8.',
  );
}

function openBareConfig(path: string): ModelSource {
  const config = readJsonFile(path, maxConfigBytes);
  return {
    path,
    kind: 'config',
    config,
    weights: undefined,
    tokenizer: undefined,
    generationConfig: undefined,
    files: [path],
    passthroughFiles: [],
  };
}

/** Reads config.json, tokenizer and generation files of a folder, where present. @throws ERR_FILE, ERR_MODEL_CORRUPT */
export function readSideFiles(folder: string): SideFiles {
  const read: string[] = [];
  const optional = (name: string, maxBytes?: number): JsonObject | undefined => {
    const file = join(folder, name);
    if (!existsSync(file)) return undefined;
    read.push(file);
    return readJsonFile(file, maxBytes);
  };
  const config = optional('config.json', maxConfigBytes);
  const generationConfig = optional('generation_config.json', maxConfigBytes);
  const tokenizerJson = optional('tokenizer.json');
  const tokenizerConfig = optional('tokenizer_config.json', maxConfigBytes);
  const passthrough = sideFiles.map((f) => join(folder, f)).filter((f) => existsSync(f));
  let tokenizer: TokenizerFiles | undefined;
  if (tokenizerJson) {
    const templateFile = join(folder, 'chat_template.jinja');
    const template = existsSync(templateFile)
      ? readTextFile(templateFile, maxConfigBytes)
      : defaultTemplate(tokenizerConfig?.chat_template);
    if (existsSync(templateFile)) read.push(templateFile);
    const { chat_template: _, ...rest } = tokenizerConfig ?? {};
    tokenizer = { tokenizerJson, tokenizerConfig: template === undefined ? rest : { ...rest, chat_template: template } };
  }
  return { config, tokenizer, generationConfig, read, passthrough };
}

/** chat_template is a string, or a list of {name, template} of which `default` is meant. */
function defaultTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const entries = value.filter(isObject).filter((e) => typeof e.template === 'string');
  return (entries.find((e) => e.name === 'default') ?? entries[0])?.template as string | undefined;
}

function findWeights(folder: string): string | undefined {
  for (const name of ['model.safetensors.index.json', 'model.safetensors']) {
    const file = join(folder, name);
    if (existsSync(file)) return file;
  }
  const files = listFolder(folder);
  const others = files.filter((f) => f.endsWith('.safetensors') && !f.startsWith('adapter_'));
  if (others.length === 1) return join(folder, others[0] as string);
  if (others.length > 1)
    throw new FinetuneError(
      'ERR_FILE',
      `${folder}: has ${others.length} safetensors files (${others.slice(0, 3).join(', ')} ...) but no model.safetensors.index.json that says which tensor is where. Download the index too.`,
      { path: folder },
    );
  const pickled = files.find((f) => /^pytorch_model.*\.bin$|\.(pth|pt)$/.test(f));
  if (pickled)
    throw unsupportedFile(
      join(folder, pickled),
      'pickled PyTorch weights can run any code when read, so they are not read',
      'Convert them in Python: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other_folder, safe_serialization=True).',
    );
  return undefined;
}

export function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (cause) {
    throw fileError(folder, 'list it', cause);
  }
}
