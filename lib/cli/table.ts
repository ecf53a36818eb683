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
 * 'Bytes', or `bytes` itself) get units. `bytes` formats them.
 */
export function reportRows(report: object, bytes: (value: number) => string, indent = ''): string[][] {
  return Object.entries(report).flatMap(([key, value]): string[][] => {
    if (value === undefined) return [];
    const label = indent + words(key);
    if (Array.isArray(value) && value.some(isRecord)) return [[label, ''], ...value.map((item) => [`${indent}  -`, summary(item)])];
    if (Array.isArray(value)) return [[label, value.map(String).join(', ') || '-']];
    if (isRecord(value)) return [[label, ''], ...reportRows(value, bytes, `${indent}  `)];
    if (typeof value === 'number' && /bytes$/i.test(key)) return [[label, bytes(value)]];
    if (typeof value === 'number') return [[label, Number.isInteger(value) ? value.toLocaleString('en-US') : String(value)]];
    if (typeof value === 'boolean') return [[label, value ? 'yes' : 'no']];
    return [[label, String(value)]];
  });
}

const isRecord = (value: unknown): value is object => typeof value === 'object' && value !== null;

function summary(item: unknown): string {
  if (!isRecord(item)) return String(item);
  return Object.entries(item)
    .map(([key, value]) => `${words(key)}: ${String(value)}`)
    .join(', ');
}

/** 'hiddenSize' -> 'hidden size' */
function words(key: string): string {
  return key.replace(/([a-z0-9])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
}
