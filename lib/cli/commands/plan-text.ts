import type { PlanReport } from '../../trainer/events.js';
import { formatBytes, formatCount, formatPercent } from '../format.js';
import { formatTable } from '../table.js';

/** A memory plan for people: what was planned for, then bytes by category. */
export function planText(report: PlanReport): string {
  const { bytes } = report;
  const rows: [string, number][] = [
    ['weights', bytes.weights],
    ...(bytes.quantization ? [['  scales of quantized blocks', bytes.quantization] satisfies [string, number]] : []),
    ['gradients', bytes.gradients],
    ['optimizer state', bytes.optimizer],
    ['inside a step, at its peak', bytes.arena],
    ...(bytes.checkpoints ? [['  inputs of blocks, to compute them again', bytes.checkpoints] satisfies [string, number]] : []),
    ['  saved activations', bytes.saved],
    ['  gradients of activations', bytes.transient],
    ['  workspace', bytes.workspace],
    ['batch and tables', bytes.other],
    ['total', bytes.total],
  ];
  const share = (value: number) => (bytes.total ? formatPercent(value / bytes.total) : '');
  const table = formatTable(
    [{ title: 'memory' }, { title: 'bytes', align: 'right' }, { align: 'right' }, { align: 'right' }],
    rows.map(([name, value]) => [name, formatCount(value), formatBytes(value), share(value)]),
  );
  const scales = bytes.quantizationMapped ? ` (${formatBytes(bytes.quantizationMapped)} of it scales of quantized blocks)` : '';
  const mapped = bytes.weightsMapped
    ? `\n${formatBytes(bytes.weightsMapped)}${scales} of frozen weights stay in the model file, in the system's cache, which others can take back.\n`
    : '';
  return `${describePlan(report)}\n\n${table}${mapped}${offloadedText(report)}`;
}

/** What lies in scratch files. */
function offloadedText({ bytes }: PlanReport): string {
  if (bytes.offloaded === 0) return '';
  const parts = [
    ['trained weights', bytes.weightsOffloaded],
    ['gradients', bytes.gradientsOffloaded],
    ['optimizer state', bytes.optimizerOffloaded],
    ['block inputs', bytes.activationsOffloaded],
  ] as const;
  const list = parts.filter(([, size]) => size > 0).map(([name, size]) => `${name} ${formatBytes(size)}`);
  return `\n${formatBytes(bytes.offloaded)} lie in scratch files on the disk, in the system's cache, which others can take back: ${list.join(', ')}.\n`;
}

/** What a plan was made for, in two lines. */
export function describePlan(report: PlanReport): string {
  const trained = formatPercent(report.trainableParameters / report.totalParameters);
  const batch = `batch ${report.batchSize} x ${formatCount(report.maxLength)}`;
  return [
    `${report.model} (${report.modelType}), ${report.method} with ${report.optimizer}${report.fused ? ' (fused)' : ''}, ` +
      `trains ${formatCount(report.trainableParameters)} of ${formatCount(report.totalParameters)} parameters (${trained})`,
    `${report.dtype} on ${report.device}, ${formatCount(report.tokens)} tokens a pass (${batch}), checkpointing ${report.checkpointing}`,
  ].join('\n');
}
