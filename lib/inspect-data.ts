import type { DataOptions } from './data/dataset.js';
import { type DataInspection, inspectData as inspect } from './data/inspect.js';
import { Tokenizer } from './data/tokenizer.js';
import { openModel } from './formats/model-source.js';

/** What to look at: data, and the model whose tokenizer and chat template it goes through. */
export interface InspectDataOptions extends Omit<DataOptions, 'validationSplit' | 'seed' | 'maxLength'> {
  model: string;
  data: string;
  /** Longest sequence in tokens. Default: 1024 */
  maxLength?: number;
  /** Example to show, counted from 0. Default: 0 */
  index?: number;
}

/**
 * What training would learn from data: counts, lengths, warnings, and one example with its loss mask.
 * @throws ERR_FILE, ERR_DATA_INVALID, ERR_CONFIG_INVALID
 * @example
 * ```ts
 * const { report } = await inspectData({ model: './SmolLM2-135M', data: './chat.jsonl' });
 * console.log(report.examples, report.labelTokens, report.warnings);
 * ```
 */
export async function inspectData(options: InspectDataOptions): Promise<DataInspection> {
  const { model, data, index = 0, maxLength = 1024, ...rest } = options;
  const { tokenizer } = openModel(model, { weights: false });
  return inspect(data, tokenizer && Tokenizer.fromJson(tokenizer.tokenizerJson, tokenizer.tokenizerConfig), { ...rest, maxLength }, index);
}
