import { templateDate } from './chat-template.js';
import type { EncodeCounts } from './encode-sample.js';
import { type DataReport, nameDropped } from './report.js';
import type { Tokenizer } from './tokenizer.js';

/** More than this share of cut or dropped examples is worth a warning. */
const manyShare = 0.1;

/** What a person should know before training on this data. */
export function dataWarnings(
  report: DataReport,
  counts: EncodeCounts,
  doubleBos: number,
  tokenizer: Tokenizer | undefined,
  maxLength: number,
): string[] {
  const warnings: string[] = [];
  const all = report.examples + report.dropped.length;
  const percent = (n: number): string => `${((100 * n) / all).toFixed(1)} %`;
  if (report.dropped.length > 0) {
    const many = report.dropped.length > manyShare * all ? `, ${percent(report.dropped.length)} of the data,` : '';
    warnings.push(`${report.dropped.length} dropped${many} for having nothing to learn: ${nameDropped(report.dropped)}.`);
  }
  if (report.truncated > manyShare * all) {
    warnings.push(`${report.truncated} examples (${percent(report.truncated)}) are longer than maxLength ${maxLength} and lose their end.`);
  }
  if (tokenizer && !report.eosTrained) {
    const { eosTokenId } = tokenizer;
    warnings.push(
      eosTokenId === undefined
        ? 'The tokenizer names no eos_token: the model will not learn to stop.'
        : `The EOS token ${tokenizer.tokenOf(eosTokenId)} is never learned: the model will not learn to stop.`,
    );
  }
  if (counts.plainInsteadOfChat > 0) {
    warnings.push(
      'The model has no chat template: the rows are plain text, a prompt and the answer. Generate with prompts of the same form.',
    );
  }
  if (counts.plainPairs > 0) {
    warnings.push('Prompts and completions are plain text, without the chat template that the model has (promptsAsChat: true applies it).');
  }
  if (counts.splitChats > 0) {
    warnings.push(
      `${counts.splitChats} conversations gave several examples, since the chat template shows earlier turns otherwise than the last.`,
    );
  }
  if (counts.ignoredTools > 0) warnings.push(`${counts.ignoredTools} rows have tools, which the chat template does not show.`);
  if (counts.inexactBorders > 0) {
    warnings.push(`${counts.inexactBorders} borders between prompt and answer lie inside a token, which is then learned.`);
  }
  if (doubleBos > 0) warnings.push(`${doubleBos} tokenized rows begin with BOS twice.`);
  if (tokenizer?.templateUsesDate && ['messages', 'sharegpt', 'alpaca'].includes(report.format)) {
    warnings.push(`The chat template shows the date; training always shows ${templateDate.toDateString()}, so that runs can be repeated.`);
  }
  return warnings;
}
