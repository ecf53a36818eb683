import { formatBytes } from '../cli/format.js';
import { type ComparisonRow, categories } from './row.js';

/** A column of the comparison. Where no row has a value it is left out. */
export interface ComparisonColumn {
  /** Title in tables. */
  title: string;
  /** Name in CSV and JSON. */
  key: string;
  align: 'left' | 'right';
  /** For programs: bytes, tokens per second, nats. */
  value(row: ComparisonRow): string | number | undefined;
  /** For people. */
  text(row: ComparisonRow): string;
}

const bytesText = (bytes: number | undefined) => (bytes === undefined ? '-' : bytes === 0 ? '0' : formatBytes(bytes));

function bytesColumn(title: string, key: string, value: (row: ComparisonRow) => number | undefined): ComparisonColumn {
  return { title, key, align: 'right', value, text: (row) => bytesText(value(row)) };
}

function numberColumn(title: string, key: string, digits: number, value: (row: ComparisonRow) => number | undefined): ComparisonColumn {
  return { title, key, align: 'right', value, text: (row) => value(row)?.toFixed(digits) ?? '-' };
}

/** Whether a run took exactly what was planned. */
export function agrees({ bytes, measured }: ComparisonRow): boolean {
  return measured !== undefined && bytes !== undefined && measured.total === bytes.total && measured.offloaded === bytes.offloaded;
}

const steps = (rows: readonly ComparisonRow[]) => rows.find((r) => r.measured?.loss)?.measured?.loss?.steps;

const words: Partial<Record<(typeof categories)[number], string>> = { quantization: 'quantization metadata' };

/** All columns that some row has a value for, in the order of the table. */
export function comparisonColumns(rows: readonly ComparisonRow[]): ComparisonColumn[] {
  const text = (title: string, value: (row: ComparisonRow) => string): ComparisonColumn => {
    return { title, key: title, align: 'left', value, text: value };
  };
  const columns: ComparisonColumn[] = [
    text('part', (row) => row.part),
    text('method', (row) => row.name),
    text('checkpointing', (row) => row.checkpointing),
    ...categories.map((name) => bytesColumn(words[name] ?? name, `${name}Bytes`, (row) => row.bytes?.[name])),
    {
      ...bytesColumn('planned', 'plannedBytes', (row) => row.bytes?.total),
      text: (row) => bytesText(row.bytes?.total) + (row.computedBytes ? ' *' : ''),
    },
    bytesColumn('in the file', 'inFileBytes', (row) => row.bytes?.inFile),
    bytesColumn('in scratch files', 'offloadedBytes', (row) => row.bytes?.offloaded || undefined),
    {
      ...bytesColumn('measured', 'measuredBytes', (row) => row.measured?.total),
      text: (row) => (agrees(row) ? '= planned' : bytesText(row.measured?.total)),
    },
    bytesColumn('resident', 'residentBytes', (row) => row.measured?.resident),
    bytesColumn('PyTorch', 'peerResidentBytes', (row) => row.peer?.resident),
    numberColumn('tok/s', 'tokensPerSecond', 0, (row) => row.measured?.tokensPerSecond),
    numberColumn('PyTorch tok/s', 'peerTokensPerSecond', 0, (row) => row.peer?.tokensPerSecond),
    numberColumn('loss before', 'lossBefore', 3, (row) => row.measured?.loss?.before),
    numberColumn(`after ${steps(rows) ?? 0} steps`, 'lossAfter', 3, (row) => row.measured?.loss?.after),
    numberColumn('computed', 'computedBytes', 0, (row) => row.computedBytes || undefined),
    { title: 'note', key: 'note', align: 'left', value: (row) => row.note, text: (row) => row.note ?? '' },
  ];
  return columns.filter(({ value }) => rows.some((row) => value(row) !== undefined));
}

/** Columns for people: what a text below the table says instead is left out, and `part` where all rows are of one. */
export function shownColumns(rows: readonly ComparisonRow[]): ComparisonColumn[] {
  const hidden = ['computedBytes', 'note', ...(new Set(rows.map((r) => r.part)).size === 1 ? ['part'] : [])];
  return comparisonColumns(rows).filter(({ key }) => !hidden.includes(key));
}

/** What has to be said of the rows below a table: computed bytes, and why a row has none. Lines. */
export function footnotes(rows: readonly ComparisonRow[]): string[] {
  const computed = rows.filter((row) => row.computedBytes).map((row) => `${row.name}: ${formatBytes(row.computedBytes)}`);
  const refused = new Set(rows.flatMap(({ name, note }) => (note === undefined ? [] : [`${name}: ${note}`])));
  return [
    ...(computed.length
      ? [
          `* Computed, not planned: this package never makes whole logits. Added for them and their gradient, in f32 (${computed.join('; ')}).`,
        ]
      : []),
    ...refused,
  ];
}
