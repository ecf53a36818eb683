import { formatBytes } from '../cli/format.js';
import { type ComparedBytes, type ComparisonRow, categories } from './row.js';

type Segment = (typeof categories)[number] | 'inFile' | 'offloaded';

/** In the page cache, not in the total: drawn paler. */
const cached = ['inFile', 'offloaded'] as const;
const isCached = (name: Segment) => cached.some((c) => c === name);

/** Fills that stand out from white and from black alike, and from their neighbours. */
const fills: Record<Segment, string> = {
  weights: '#3b82c4',
  quantization: '#7fb2dd',
  gradients: '#d1495b',
  optimizer: '#e08e3c',
  checkpoints: '#7a5ea8',
  activations: '#3f9c74',
  workspace: '#8a8f2a',
  batch: '#6b6f76',
  inFile: '#9aa0a8',
  offloaded: '#b08d57',
};

const names: Partial<Record<Segment, string>> = {
  quantization: 'quantization metadata',
  inFile: 'frozen weights in the file',
  offloaded: 'in scratch files',
};

const width = 880;
const labelWidth = 270;
const totalWidth = 90;
const barHeight = 14;
const rowHeight = 20;
const margin = 12;
const partGap = 10;
/** Characters. */
const longestLine = 130;

/** Colours of text follow the reader's light or dark mode; bars keep theirs. */
const style =
  'text{font:12px system-ui,sans-serif;fill:#1f2328}.dim{fill:#59636e}' +
  '@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}}';

/**
 * Stacked bars, one a row, of the planned bytes by category; frozen weights in the model file come last. Rows without a plan are left
 * out. Stands alone: no fonts, scripts or links.
 */
export function comparisonSvg(rows: readonly ComparisonRow[], caption: string): string {
  const shown = rows.flatMap((row) => (row.bytes ? [{ row, bytes: row.bytes }] : []));
  const used = ([...categories, ...cached] as const).filter((name) => shown.some(({ bytes }) => bytes[name] > 0));
  const longest = Math.max(1, ...shown.map(({ bytes }) => bytes.total + bytes.inFile + bytes.offloaded));
  const scale = (width - 2 * margin - labelWidth - totalWidth) / longest;
  const computed = shown.some(({ row }) => row.computedBytes) ? ' * With whole logits, which are computed.' : '';
  const lines = wrap(caption + computed);
  const legend = legendOf(used, margin + 18 + 16 * lines.length);
  let y = legend.bottom + 10 - rowHeight;
  const bars = shown.map(({ row, bytes }, i) => {
    const before = shown[i - 1]?.row;
    y += rowHeight + (before && before.part !== row.part ? partGap : 0);
    return bar(row, bytes, used, { y, scale, isFirst: before?.name !== row.name || before.part !== row.part });
  });
  const height = y + rowHeight + margin;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>Memory by method: ${escapeXml(caption)}</title>`,
    `<style>${style}</style>`,
    ...lines.map((line, i) => text(margin, margin + 12 + 16 * i, escapeXml(line), 'class="dim"')),
    ...legend.lines,
    ...bars,
    '</svg>\n',
  ].join('\n');
}

/** Lines of words that fit into the picture. */
function wrap(caption: string): string[] {
  const lines = [''];
  for (const word of caption.split(' ')) {
    const line = lines.at(-1) as string;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + word.length < longestLine) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

// Rows that differ in checkpointing alone carry their name once.
function bar(
  row: ComparisonRow,
  bytes: ComparedBytes,
  used: readonly Segment[],
  { y, scale, isFirst }: { y: number; scale: number; isFirst: boolean },
): string {
  let x = margin + labelWidth;
  const rects = used.flatMap((name) => {
    const size = bytes[name] * scale;
    const at = x;
    x += size;
    const shape = `x="${round(at)}" y="${y}" width="${round(size)}" height="${barHeight}" fill="${fills[name]}"`;
    return size < 0.05 ? [] : [`<rect ${shape}${isCached(name) ? ' fill-opacity=".45"' : ''}/>`];
  });
  const labels = [isFirst ? row.name : '', row.checkpointing === 'block' && row.part === 'methods' ? 'checkpointing' : ''];
  const label = escapeXml(labels.filter(Boolean).join(', '));
  const total = `${formatBytes(bytes.total)}${row.computedBytes ? ' *' : ''}`;
  return [
    text(margin + labelWidth - 8, y + 11, label, 'text-anchor="end"'),
    ...rects,
    text(round(x) + 6, y + 11, total, 'class="dim"'),
  ].join('');
}

function legendOf(used: readonly Segment[], top: number): { lines: string[]; bottom: number } {
  let x = margin;
  let y = top;
  const lines = used.map((name) => {
    const label = names[name] ?? name;
    const space = 30 + label.length * 6.6;
    if (x + space > width - margin) {
      x = margin;
      y += 18;
    }
    const at = x;
    x += space;
    const swatch = `<rect x="${round(at)}" y="${y - 10}" width="10" height="10" fill="${fills[name]}"`;
    return `${swatch}${isCached(name) ? ' fill-opacity=".45"' : ''}/>${text(round(at) + 15, y, label, '')}`;
  });
  return { lines, bottom: y };
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x}" y="${y}"${attributes && ` ${attributes}`}>${content}</text>`;
}

const round = (value: number) => Math.round(value * 10) / 10;

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escapeXml = (value: string) => value.replace(/[&<>"']/g, (character) => entities[character] as string);
