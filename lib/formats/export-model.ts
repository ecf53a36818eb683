import { copyFileSync, existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type DType, isQuantized } from '../core/dtype.js';
import { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';
import { writeFileAtomic, writeFolderAtomic } from './atomic-file.js';
import { HostContext } from './host-ops.js';
import type { ModelSource } from './model-source.js';
import { type NamedTensor, writeSafetensors } from './safetensors-writer.js';

export interface ExportOptions {
  /** The model the weights come from: configuration, tokenizer and generation settings pass through. */
  source: ModelSource;
  /** Every tensor of the model under its Hugging Face name. */
  tensors: readonly NamedTensor[];
  /** Replace the files of an existing folder. Default false */
  overwrite?: boolean;
  /** Storage type of weights that are quantized in memory. Default bf16 */
  quantizedAs?: 'f32' | 'f16' | 'bf16';
}

const configNames: Partial<Record<DType, string>> = { f64: 'float64', f32: 'float32', f16: 'float16', bf16: 'bfloat16' };

/** Writes a complete Hugging Face model folder: model.safetensors, config.json, tokenizer and chat template. */
export function writeModelFolder(folder: string, options: ExportOptions): void {
  const { source, overwrite } = options;
  writeFolderAtomic(folder, { overwrite }, (temporary) => {
    const { tensors, release } = storable(options);
    try {
      writeSafetensors(join(temporary, 'model.safetensors'), tensors);
      const largest = tensors.reduce((a, b) => (b.tensor.numElements > a.tensor.numElements ? b : a));
      const config = { ...source.config, torch_dtype: configNames[largest.tensor.dtype] };
      writeFileAtomic(join(temporary, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
      writeTokenizer(temporary, source);
    } finally {
      release();
    }
  });
}

// Quantized blocks have no safetensors form: they are expanded.
function storable({ tensors, quantizedAs = 'bf16' }: ExportOptions): { tensors: NamedTensor[]; release(): void } {
  const context = new HostContext();
  const made: Tensor[] = [];
  const converted = tensors.map(({ name, tensor }) => {
    if (!isQuantized(tensor.dtype)) return { name, tensor };
    const y = Tensor.allocate(quantizedAs, tensor.shape, 'other', name);
    made.push(y);
    ops.cast(context, { x: tensor, y });
    return { name, tensor: y };
  });
  return { tensors: converted, release: () => made.forEach((t) => t.dispose()) };
}

function writeTokenizer(folder: string, source: ModelSource): void {
  for (const file of source.passthroughFiles)
    if (existsSync(file) && basename(file) !== 'config.json') copyFileSync(file, join(folder, basename(file)));
  const { tokenizer, generationConfig } = source;
  const json = (name: string, value: unknown) => {
    if (value !== undefined && !existsSync(join(folder, name))) writeFileAtomic(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  };
  json('tokenizer.json', tokenizer?.tokenizerJson);
  json('tokenizer_config.json', tokenizer?.tokenizerConfig);
  json('generation_config.json', generationConfig);
  const template = tokenizer?.tokenizerConfig.chat_template;
  // Newer readers look for the file, older ones for the key.
  if (typeof template === 'string' && !existsSync(join(folder, 'chat_template.jinja'))) writeFileAtomic(join(folder, 'chat_template.jinja'), template);
}
