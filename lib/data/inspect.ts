import { FinetuneError } from '../native/errors.js';
import { type DataOptions, type DataReport, type DataSource, loadDataset } from './dataset.js';
import { type Example, ignoredLabel } from './example.js';
import type { Tokenizer } from './tokenizer.js';

/** A run of tokens that are all learned, or all not. */
export interface MaskSegment {
  text: string;
  learned: boolean;
}

export interface DataInspection {
  report: DataReport;
  /** One example as the model will see it; `segments` is empty without a tokenizer. */
  sample: { row: number; tokens: number; segments: MaskSegment[] };
}

/** What training would learn from the data: the report and one example with its loss mask (`index`, counted from 0). */
export async function inspectData(
  source: DataSource,
  tokenizer: Tokenizer | undefined,
  options: DataOptions,
  index = 0,
): Promise<DataInspection> {
  const { examples, report } = await loadDataset(source, tokenizer, options);
  const example = examples[index];
  if (!example) {
    throw new FinetuneError('ERR_CONFIG_INVALID', `There is no example ${index}: the data has ${examples.length}, counted from 0.`);
  }
  const segments = tokenizer ? maskSegments(example, tokenizer) : [];
  return { report, sample: { row: example.row, tokens: example.inputIds.length, segments } };
}

/** The example's text, cut where learning begins and ends. */
export function maskSegments({ inputIds, labels }: Example, tokenizer: Tokenizer): MaskSegment[] {
  const segments: MaskSegment[] = [];
  let shown = 0;
  for (let start = 0; start < inputIds.length; ) {
    const learned = labels[start] !== ignoredLabel;
    let end = start + 1;
    while (end < inputIds.length && (labels[end] !== ignoredLabel) === learned) end++;
    // Decoded from the beginning, since the spelling of a token may depend on what precedes it.
    const text = tokenizer.decode(inputIds.subarray(0, end));
    segments.push({ text: text.slice(shown), learned });
    shown = text.length;
    start = end;
  }
  return segments;
}
