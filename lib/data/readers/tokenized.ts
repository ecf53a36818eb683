import { ignoredLabel } from '../example.js';
import { describe, invalidRow, type Reader, type Row } from './reader.js';

function readInts(value: unknown, where: string, name: string): number[] {
  if (!Array.isArray(value)) throw invalidRow(where, `"${name}" must be a list of integers; came ${describe(value)}.`);
  const wrong = value.findIndex((id) => !Number.isInteger(id));
  if (wrong >= 0) throw invalidRow(where, `${name}[${wrong}] must be an integer; came ${describe(value[wrong])}.`);
  return value as number[];
}

/** `labels`, or those that a 0/1 mask of the same length gives (TRL's `completion_mask`, `assistant_masks`), or undefined. */
function readLabels(row: Row, inputIds: number[], where: string): number[] | undefined {
  const name = ['labels', 'completion_mask', 'assistant_masks'].find((key) => row[key] !== undefined && row[key] !== null);
  if (name === undefined) return undefined;
  const values = readInts(row[name], where, name);
  if (values.length !== inputIds.length) {
    throw invalidRow(where, `"${name}" has ${values.length} values and "input_ids" ${inputIds.length}; wanted as many.`);
  }
  if (name !== 'labels') return values.map((flag, i) => (flag ? (inputIds[i] as number) : ignoredLabel));
  const wrong = values.findIndex((label, i) => label !== ignoredLabel && label !== inputIds[i]);
  if (wrong >= 0) {
    const shifted = values.slice(0, -1).every((label, i) => label === ignoredLabel || label === inputIds[i + 1]);
    throw invalidRow(
      where,
      `labels[${wrong}] is ${values[wrong]}; wanted input_ids[${wrong}] = ${inputIds[wrong]} (learned) or -100 (not learned).` +
        (shifted ? ' The labels look shifted by one: leave the shift to training.' : ''),
    );
  }
  return values;
}

/**
 * Rows already tokenized: `{ input_ids, labels?, attention_mask? }`; labels are not shifted, -100 = not learned. Positions whose
 * `attention_mask` is 0 are padding and are left out.
 */
export const tokenized: Reader = {
  keys: 'input_ids',
  matches: (row) => Array.isArray(row.input_ids),
  read(row, where) {
    const inputIds = readInts(row.input_ids, where, 'input_ids');
    if (inputIds.length === 0) throw invalidRow(where, '"input_ids" is empty.');
    const labels = readLabels(row, inputIds, where);
    if (row.attention_mask === undefined || row.attention_mask === null) return [{ kind: 'tokens', inputIds, ...(labels && { labels }) }];
    const mask = readInts(row.attention_mask, where, 'attention_mask');
    if (mask.length !== inputIds.length) throw invalidRow(where, '"attention_mask" and "input_ids" must have the same length.');
    const kept = (values: number[]): number[] => values.filter((_, i) => mask[i] !== 0);
    return [{ kind: 'tokens', inputIds: kept(inputIds), ...(labels && { labels: kept(labels) }) }];
  },
};
