import type { DataInspection } from '../../data/inspect.js';
import type { DataReport } from '../../data/report.js';
import type { Style } from '../context.js';
import { formatCount, formatPercent } from '../format.js';
import { formatTable } from '../table.js';

/** Dropped rows named one by one before the rest is only counted. */
const namedRows = 5;

/** What training would learn from data, for people; text that is learned stands between ⟦ and ⟧. */
export function inspectDataText({ report, sample }: DataInspection, style: Style): string {
  const { p5, p25, p50, p75, p95, max } = report.lengthPercentiles;
  const learned = formatPercent(report.tokens ? report.labelTokens / report.tokens : 0);
  const rows = [
    ['format', `${report.format}: ${report.reason}`],
    ['rows', formatCount(report.rows)],
    ['examples', formatCount(report.examples)],
    ['tokens', `${formatCount(report.tokens)}, ${formatCount(report.labelTokens)} of them learned (${learned})`],
    ['tokens per example', `5 %: ${p5}   25 %: ${p25}   median: ${p50}   75 %: ${p75}   95 %: ${p95}   longest: ${max}`],
    ['truncated', formatCount(report.truncated)],
    ['nothing to learn', droppedText(report)],
    ['learns to stop', report.eosTrained ? 'yes, the EOS token is learned' : 'no, the EOS token is never learned'],
  ];
  const warnings = report.warnings.map((message) => `${style('yellow', 'warning:')} ${message}\n`).join('');
  const text = sample.segments.map(({ text: part, learned: on }) => (on ? style('green', `⟦${part}⟧`) : part)).join('');
  const example = `Row ${formatCount(sample.row)}, ${formatCount(sample.tokens)} tokens; what is learned stands in ⟦ ⟧:\n${text}\n`;
  return `${formatTable([{}, {}], rows)}${warnings}\n${example}`;
}

function droppedText({ dropped }: DataReport): string {
  if (!dropped.length) return '0';
  const named = dropped.slice(0, namedRows).map(({ row, reason }) => `row ${row}: ${reason}`);
  const more = dropped.length - named.length;
  return `${formatCount(dropped.length)} (${named.join('; ')}${more > 0 ? `; and ${formatCount(more)} more` : ''})`;
}
