import { formatTable } from '../cli/table.js';
import { type ComparisonColumn, comparisonColumns, footnotes, shownColumns } from './columns.js';
import { comparisonSvg } from './picture.js';
import type { ComparisonRow } from './row.js';

/** What a comparison is of, in one line. */
type Caption = string;

/** The registry of output formats, one line each. */
const formats = {
  table: (rows: readonly ComparisonRow[], caption: Caption) => textTable(rows, caption),
  csv: (rows: readonly ComparisonRow[]) => csv(rows),
  json: (rows: readonly ComparisonRow[], caption: Caption) => json(rows, caption),
  markdown: (rows: readonly ComparisonRow[], caption: Caption) => markdown(rows, caption),
  svg: (rows: readonly ComparisonRow[], caption: Caption) => comparisonSvg(rows, caption),
} as const;

export type ComparisonFormat = keyof typeof formats;
export const comparisonFormats = Object.keys(formats) as ComparisonFormat[];

/** A comparison as one text that ends with a line break. */
export function formatComparison(rows: readonly ComparisonRow[], format: ComparisonFormat, caption: Caption): string {
  return formats[format](rows, caption);
}

/** Rows by part, in their order, with the title of a part where there are several. */
function byPart(rows: readonly ComparisonRow[]): { title: string | undefined; rows: ComparisonRow[] }[] {
  const titles = { methods: 'Methods', ladder: 'Ladder, each row on top of those before' } as const;
  const parts = [...new Set(rows.map((row) => row.part))];
  return parts.map((part) => ({ title: parts.length > 1 ? titles[part] : undefined, rows: rows.filter((r) => r.part === part) }));
}

function textTable(all: readonly ComparisonRow[], caption: Caption): string {
  const tables = byPart(all).map(({ title, rows }) => {
    const columns = shownColumns(rows);
    return `${title ? `${title}\n` : ''}${formatTable(columns, cells(columns, rows))}`;
  });
  return [...tables, `${[...footnotes(all), caption].join('\n')}\n`].join('\n');
}

function markdown(all: readonly ComparisonRow[], caption: Caption): string {
  const tables = byPart(all).map(({ title, rows }) => {
    const columns = shownColumns(rows);
    return `${title ? `**${title}**\n\n` : ''}${markdownTable(columns, cells(columns, rows))}`;
  });
  // A line that begins with one of these would be an item of a list.
  const notes = footnotes(all).map((line) => line.replace(/^[*+-]/, '\\$&'));
  return `${[...tables, ...notes, caption].join('\n\n')}\n`;
}

const cells = (columns: readonly ComparisonColumn[], rows: readonly ComparisonRow[]) => rows.map((row) => columns.map((c) => c.text(row)));

/** A Markdown table without a line break at its end, cells padded to the widest of their column. */
export function markdownTable(columns: readonly { title: string; align: 'left' | 'right' }[], rows: readonly string[][]): string {
  const escaped = rows.map((row) => row.map((cell) => cell.replace(/([|\\*])/g, '\\$1')));
  const widths = columns.map(({ title }, i) => Math.max(3, title.length, ...escaped.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => (columns[i]?.align === 'right' ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(' | ')} |`;
  const rule = columns.map(({ align }, i) => (align === 'right' ? `${'-'.repeat((widths[i] ?? 3) - 1)}:` : '-'.repeat(widths[i] ?? 3)));
  return [line(columns.map((c) => c.title)), `| ${rule.join(' | ')} |`, ...escaped.map(line)].join('\n');
}

// RFC 4180, with line breaks of one character.
function csv(rows: readonly ComparisonRow[]): string {
  const columns = comparisonColumns(rows);
  const cell = (value: string | number | undefined) =>
    value === undefined ? '' : /[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  const lines = [columns.map((c) => c.key), ...rows.map((row) => columns.map((c) => cell(c.value(row))))];
  return lines.map((line) => `${line.join(',')}\n`).join('');
}

function json(rows: readonly ComparisonRow[], caption: Caption): string {
  const columns = comparisonColumns(rows);
  const entries = rows.map((row) => ({ ...Object.fromEntries(columns.map((c) => [c.key, c.value(row)])), settings: row.config }));
  return `${JSON.stringify({ caption, rows: entries })}\n`;
}
