import { formatCount } from './format.js';

export interface Column {
  title?: string;
  align?: 'left' | 'right';
}

/** Lines of a table: cells padded to the widest of their column, two spaces between, no trailing spaces. */
export function tableLines(columns: Column[], rows: string[][]): string[] {
  const titles = columns.map(({ title }) => title ?? '');
  const all = titles.some(Boolean) ? [titles, ...rows] : rows;
  const widths = columns.map((_, i) => Math.max(0, ...all.map((row) => visibleLength(row[i] ?? ''))));
  return all.map((row) =>
    columns
      .map(({ align }, i) => pad(row[i] ?? '', widths[i] ?? 0, align))
      .join('  ')
      .trimEnd(),
  );
}

/** The lines of tableLines as one text that ends with a line break. */
export function formatTable(columns: Column[], rows: string[][]): string {
  return tableLines(columns, rows)
    .map((line) => `${line}\n`)
    .join('');
}

function pad(text: string, width: number, align: Column['align']): string {
  const space = ' '.repeat(Math.max(0, width - visibleLength(text)));
  return align === 'right' ? space + text : text + space;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences begin with ESC
const colours = /\u001b\[[0-9;]*m/g;

/** Characters without colour sequences. */
export function visibleLength(text: string): number {
  return [...text.replace(colours, '')].length;
}

/**
 * Rows of a report object for people: nested objects are indented, names are split into words, numbers of bytes (names that end in
 * 'bytes') are formatted by `bytes`, and the items of a list are named by their first text.
 */
export function reportRows(report: object, bytes: (value: number) => string, indent = ''): string[][] {
  return Object.entries(report).flatMap(([key, value]): string[][] => {
    if (value === undefined) return [];
    const label = indent + words(key);
    if (Array.isArray(value) && value.some(isRecord)) return [[label, ''], ...value.map((item) => itemRow(item, bytes, `${indent}  `))];
    if (isRecord(value) && !Array.isArray(value)) return [[label, ''], ...reportRows(value, bytes, `${indent}  `)];
    return [[label, valueText(key, value, bytes)]];
  });
}

function itemRow(item: unknown, bytes: (value: number) => string, indent: string): string[] {
  if (!isRecord(item)) return [indent + String(item), ''];
  const [name, ...rest] = Object.entries(item).sort(([, a], [, b]) => Number(typeof b === 'string') - Number(typeof a === 'string'));
  const text = rest.map(([key, value]) => `${words(key)} ${valueText(key, value, bytes)}`).join(', ');
  return [indent + String(name?.[1] ?? '-'), text];
}

function valueText(key: string, value: unknown, bytes: (value: number) => string): string {
  if (Array.isArray(value)) return value.map(String).join(', ') || '-';
  if (typeof value === 'number' && /bytes$/i.test(key)) return bytes(value);
  if (typeof value === 'number') return Number.isInteger(value) ? formatCount(value) : String(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return String(value);
}

const isRecord = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** 'hiddenSize' -> 'hidden size' */
function words(key: string): string {
  return key.replace(/([a-z0-9])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
}
