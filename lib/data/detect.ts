import { FinetuneError } from '../native/errors.js';
import { type FormatName, readers } from './readers/index.js';
import { describe, isRow, type Row } from './readers/reader.js';
import type { RawRow } from './rows.js';

export interface Detection {
  format: FormatName;
  /** Why, in words, for the report. */
  reason: string;
}

/** Bare strings count as rows of text. */
export function asRow(value: unknown): Row | undefined {
  if (typeof value === 'string') return { text: value };
  return isRow(value) ? value : undefined;
}

function wanted(): string {
  return Object.entries(readers)
    .map(([name, reader]) => `${name} (${reader.keys})`)
    .join('; ');
}

/** The format of the first row, by its keys. Preference rows are refused: learning every answer would learn the rejected ones too. */
export function detectFormat({ value, where }: RawRow): Detection {
  const row = asRow(value);
  if (!row) {
    throw new FinetuneError('ERR_DATA_INVALID', `${where}: a row must be a JSON object or a string; came ${describe(value)}.`, { where });
  }
  refusePreference(row, where);
  for (const [name, reader] of Object.entries(readers)) {
    if (!reader.matches(row)) continue;
    const reason = typeof value === 'string' ? 'the rows are strings' : `the first row has the keys ${Object.keys(row).join(', ')}`;
    return { format: name as FormatName, reason };
  }
  throw new FinetuneError(
    'ERR_DATA_INVALID',
    `${where}: the format is not known from the keys ${Object.keys(row).slice(0, 12).join(', ') || '(none)'}. Wanted one of: ${wanted()}.`,
    { where, keys: Object.keys(row) },
  );
}

function refusePreference(row: Row, where: string): void {
  const pair = ['chosen', 'chosen_messages'].some((key) => row[key] !== undefined);
  const answers = ['messages', 'conversations', 'completion'].some((key) => row[key] !== undefined);
  const tagged = answers && (typeof row.label === 'boolean' || typeof row.kto_tag === 'boolean');
  if (!pair && !tagged) return;
  const what = pair ? 'pairs of a chosen and a rejected answer' : 'answers with a true/false label';
  throw new FinetuneError(
    'ERR_DATA_INVALID',
    `${where}: these are preference rows (${what}), which supervised training cannot read. ` +
      'Keep the good answers as messages rows, or name the format to take every row as it stands.',
    { where },
  );
}

/** Checks that a row has the format of the others. */
export function requireFormat(raw: RawRow, format: FormatName, named: boolean): Row {
  const row = asRow(raw.value);
  if (row && readers[format].matches(row)) return row;
  const why = named ? `the format is given as ${format}` : `the first rows are ${format} rows`;
  throw new FinetuneError(
    'ERR_DATA_INVALID',
    `${raw.where}: ${why}, which need ${readers[format].keys}; came ${describe(raw.value)}. All rows of a file must have one format.`,
    { where: raw.where, format },
  );
}
