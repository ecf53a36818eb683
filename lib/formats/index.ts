import { isGgufModel, openGgufModel } from './gguf-model.js';
import { isHfModel, openHfModel } from './hf-folder.js';
import type { ModelSource, OpenModelOptions } from './model-source.js';

export interface ModelFormat {
  name: string;
  /** What a path of this format is, for messages. */
  describes: string;
  /** Whether an existing path is of this format. First match wins. */
  sniff(path: string): boolean;
  open(path: string, options: OpenModelOptions): ModelSource;
}

/** The registry of model formats. */
export const modelFormats: readonly ModelFormat[] = [
  { name: 'gguf', describes: 'a .gguf file, or a folder with one', sniff: isGgufModel, open: openGgufModel },
  { name: 'hf', describes: 'a folder with config.json and safetensors weights, or a config.json', sniff: isHfModel, open: openHfModel },
];
