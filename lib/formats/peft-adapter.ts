import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Tensor } from '../core/tensor.js';
import { type OutputFolderOptions, writeFileAtomic, writeFolderAtomic } from './atomic-file.js';
import { corruptFile, unsupportedFile } from './file-error.js';
import { type JsonObject, readJsonFile } from './json-file.js';
import { SafetensorsSource } from './safetensors.js';
import { writeSafetensors } from './safetensors-writer.js';

/** adapter_config.json of a LoRA adapter, with the keys peft writes; the rest passes through. */
export interface PeftConfig extends JsonObject {
  peft_type: string;
  r: number;
  lora_alpha: number;
  lora_dropout: number;
  use_rslora: boolean;
  target_modules: string[] | string;
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
}

/** An adapter as it lies on disk. Its tensors are views of the mapped file until close(). */
export interface PeftAdapter {
  path: string;
  config: PeftConfig;
  /** By the names peft stores. */
  tensors: Map<string, Tensor>;
  close(): void;
}

const weightsFile = 'adapter_model.safetensors';

/**
 * Opens a PEFT adapter folder.
 * @throws ERR_FILE, ERR_MODEL_CORRUPT, or ERR_MODEL_UNSUPPORTED for another peft_type, an option that changes the result, or pickled weights
 */
export function readAdapter(path: string): PeftAdapter {
  const configPath = join(path, 'adapter_config.json');
  const config = readConfig(configPath, readJsonFile(configPath));
  if (!existsSync(join(path, weightsFile)) && existsSync(join(path, 'adapter_model.bin')))
    throw unsupportedFile(
      join(path, 'adapter_model.bin'),
      'holds pickled weights, which can run code when they are read',
      'Load it in Python where you trust it and save it with safe_serialization=True.',
    );
  const source = SafetensorsSource.openFile(join(path, weightsFile));
  const tensors = new Map(source.names().map((name) => [name, source.tensor(name)]));
  return { path, config, tensors, close: () => source.close() };
}

/** Writes adapter_config.json, adapter_model.safetensors and README.md; the folder appears whole or not at all. */
export function writeAdapter(
  folder: string,
  config: JsonObject,
  tensors: Iterable<[string, Tensor]>,
  options: OutputFolderOptions = {},
): void {
  writeFolderAtomic(folder, options, (temporary) => {
    writeSafetensors(
      join(temporary, weightsFile),
      [...tensors].map(([name, tensor]) => ({ name, tensor })),
    );
    writeFileAtomic(join(temporary, 'adapter_config.json'), `${JSON.stringify(config, null, 2)}\n`);
    writeFileAtomic(join(temporary, 'README.md'), modelCard(config));
  });
}

function readConfig(path: string, json: JsonObject): PeftConfig {
  if (json.peft_type !== 'LORA')
    throw unsupportedFile(path, `has peft_type ${JSON.stringify(json.peft_type)}`, 'Supported is "LORA".');
  for (const key of ['use_dora', 'lora_bias', 'use_bdlora'])
    if (json[key] === true) throw unsupportedFile(path, `has ${key}: true`, 'Adapters with it are not supported.');
  const number = (key: string, fallback: number): number => {
    const value = json[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw corruptFile(path, `${key} must be a number`);
    return value;
  };
  const pattern = (key: string): Record<string, number> => {
    const value = json[key] ?? {};
    if (typeof value !== 'object' || Object.values(value).some((v) => typeof v !== 'number'))
      throw corruptFile(path, `${key} must map names to numbers`);
    return value as Record<string, number>;
  };
  return {
    ...json,
    peft_type: 'LORA',
    r: number('r', 8),
    lora_alpha: number('lora_alpha', 8),
    lora_dropout: number('lora_dropout', 0),
    use_rslora: json.use_rslora === true,
    target_modules: (json.target_modules ?? []) as string[] | string,
    rank_pattern: pattern('rank_pattern'),
    alpha_pattern: pattern('alpha_pattern'),
  };
}

function modelCard(config: JsonObject): string {
  const base = String(config.base_model_name_or_path ?? 'unknown');
  return `---\nlibrary_name: peft\nbase_model: ${JSON.stringify(base)}\n---\n\n# LoRA adapter\n\nBase model: \`${base}\`. Rank ${config.r}, alpha ${config.lora_alpha}.\nLoad it with peft's \`PeftModel.from_pretrained\`, or with node-finetune's \`--adapter\`.\n`;
}
