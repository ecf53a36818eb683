import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DType, FloatType } from '../core/dtype.js';
import type { Segment } from '../core/memory.js';
import { writeFileAtomic, writeFolderAtomic } from './atomic-file.js';
import { isObject, type JsonObject, readJsonFile, readTextFile, readWholeFile } from './json-file.js';
import type { ModelSource } from './model-source.js';
import { nameWeights } from './safetensors-scratch.js';
import { type TensorToWrite, writeSafetensorsSharded } from './safetensors-writer.js';

export interface ModelToWrite {
  /** Where configuration, tokenizer and generation files come from. */
  source: ModelSource;
  /** Under Hugging Face names; a tied head is left out. */
  tensors: Iterable<TensorToWrite>;
  /** A scratch file of layOutAsFile with exactly these tensors, which becomes the weight file where it can; else they are written. */
  weightsFile?: Segment | undefined;
  /** Keys of config.json to set; undefined removes one. */
  config?: JsonObject | undefined;
  /** Type in the file for tensors that name none. Default: each tensor's own, f32 for quantized ones. */
  dtype?: FloatType | undefined;
  /** Default 5 * 10^9. */
  maxShardBytes?: number | undefined;
  /** Replace the model in an existing folder. Default false: refuse a folder that is not empty. */
  overwrite?: boolean | undefined;
}

/**
 * Writes a Hugging Face model folder as a whole: weights, config.json with the type of the weights, tokenizer and generation files
 * byte for byte as they were (or made from GGUF metadata), the chat template both as chat_template.jinja and in
 * tokenizer_config.json, since tools read only one of them.
 * @returns the weight files
 * @throws ERR_FILE
 */
export function writeModelFolder(folder: string, model: ModelToWrite): string[] {
  const tensors = [...model.tensors].map((t) => ({ ...t, dtype: t.dtype ?? model.dtype }));
  let files: string[] = [];
  writeFolderAtomic(folder, { overwrite: model.overwrite, isStale: isWeightFile }, (temporary) => {
    const path = join(temporary, 'model.safetensors');
    if (model.weightsFile && nameWeights(model.weightsFile, path)) files = [basename(path)];
    else files = writeSafetensorsSharded(path, tensors, { maxShardBytes: model.maxShardBytes });
    writeFileAtomic(join(temporary, 'config.json'), configJson(configFor(model, tensors)));
    writeSideFiles(temporary, model.source);
  });
  return files;
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

// JSON.stringify writes 30.0 as 30, which transformers refuses for settings it declares as float.
const wholeFloats = /^(\s*"(?:initializer_range|rms_norm_eps|\w+_softcapping|rope_theta|factor|\w+_freq_factor)": -?\d+)(?=,?$)/gm;
const configJson = (config: JsonObject): string => json(config).replace(wholeFloats, '$1.0');

function isWeightFile(file: string): boolean {
  return /^model(-\d+-of-\d+)?\.safetensors$|^model\.safetensors\.index\.json$|^pytorch_model.*\.bin$/.test(file);
}

const torchNames: Partial<Record<DType, string>> = { f64: 'float64', f32: 'float32', f16: 'float16', bf16: 'bfloat16' };

// The type of most weights. Only the keys that say something about the files change; the rest passes through.
function configFor({ source, config: patch }: ModelToWrite, tensors: TensorToWrite[]): JsonObject {
  const elements = new Map<string, number>();
  for (const { tensor, dtype } of tensors) {
    const name = torchNames[dtype ?? tensor.dtype] ?? 'float32';
    elements.set(name, (elements.get(name) ?? 0) + tensor.shape.reduce((a, b) => a * b, 1));
  }
  const main = [...elements].sort((a, b) => b[1] - a[1])[0]?.[0];
  const { quantization_config: _, ...config } = source.config;
  if ('torch_dtype' in config || !('dtype' in config)) config.torch_dtype = main;
  if ('dtype' in config) config.dtype = main;
  return Object.fromEntries(Object.entries({ ...config, ...patch }).filter(([, value]) => value !== undefined));
}

function writeSideFiles(folder: string, source: ModelSource): void {
  for (const file of source.passthroughFiles) writeFileAtomic(join(folder, basename(file)), readWholeFile(file));
  const write = (name: string, value: unknown): void => {
    if (!existsSync(join(folder, name)) && value !== undefined) writeFileAtomic(join(folder, name), json(value));
  };
  write('generation_config.json', source.generationConfig);
  write('tokenizer.json', source.tokenizer?.tokenizerJson);
  write('tokenizer_config.json', source.tokenizer?.tokenizerConfig);
  completeTemplates(folder);
}

function completeTemplates(folder: string): void {
  const configFile = join(folder, 'tokenizer_config.json');
  const templateFile = join(folder, 'chat_template.jinja');
  if (!existsSync(configFile)) return;
  const config = readJsonFile(configFile);
  const { chat_template: template } = config;
  if (existsSync(templateFile)) {
    if (template === undefined) writeFileAtomic(configFile, json({ ...config, chat_template: readTextFile(templateFile) }));
  } else if (typeof template === 'string') writeFileAtomic(templateFile, template);
  else if (Array.isArray(template)) writeNamedTemplates(folder, template.filter(isObject));
}

// As transformers keeps a list of named templates in files: all of them, or those left out would be lost to it.
function writeNamedTemplates(folder: string, entries: JsonObject[]): void {
  for (const { name, template } of entries) {
    if (typeof template !== 'string' || typeof name !== 'string' || !/^[\w-]+$/.test(name)) continue;
    if (name === 'default') writeFileAtomic(join(folder, 'chat_template.jinja'), template);
    else {
      mkdirSync(join(folder, 'additional_chat_templates'), { recursive: true });
      writeFileAtomic(join(folder, 'additional_chat_templates', `${name}.jinja`), template);
    }
  }
}
