import type { EvalEvent, StepEvent, TrainEvent, TrainResult } from '../trainer/events.js';
import type { Style } from './context.js';
import { formatBytes, formatCount, formatDuration, formatPercent, formatRate } from './format.js';

/** Text of an event for people; undefined for those that need none. */
export function eventText(event: TrainEvent, style: Style): string | undefined {
  switch (event.type) {
    case 'start':
      return startText(event, style);
    case 'step':
      return stepLine(event);
    case 'eval':
      return evalLine(event, style);
    case 'checkpoint':
      return style('dim', `checkpoint at step ${event.step}: ${event.path}`);
    case 'warning':
      return warningLine(event.message, style);
    case 'done':
      return undefined;
  }
}

const warningLine = (message: string, style: Style) => `${style('yellow', 'warning:')} ${message}`;

function startText(event: Extract<TrainEvent, { type: 'start' }>, style: Style): string {
  const { report, startStep, validationExamples } = event;
  const { total, weightsMapped } = report.bytes;
  const share = formatPercent(report.trainableParameters / report.totalParameters);
  const heldOut = validationExamples ? `, ${formatCount(validationExamples)} held out` : '';
  const continues = startStep ? ` (continues after step ${startStep})` : '';
  const mapped = weightsMapped ? ` + ${formatBytes(weightsMapped)} mapped` : '';
  const model = `${style('bold', report.model)} (${report.modelType})`;
  return [
    `${model}, ${report.method} with ${report.optimizer}, ${report.dtype} on ${report.device}`,
    `trains ${formatCount(report.trainableParameters)} of ${formatCount(report.totalParameters)} parameters (${share})`,
    `${formatCount(event.trainExamples)} examples${heldOut}, ${formatCount(event.steps)} steps${continues}`,
    `planned memory ${formatBytes(total)}${mapped}`,
    ...event.warnings.map((message) => warningLine(message, style)),
  ].join('\n');
}

/** One step: step/steps, loss, learning rate, gradient norm, tokens per second, time left, memory now/peak. */
export function stepLine(event: StepEvent): string {
  const parts = [
    `step ${String(event.step).padStart(String(event.steps).length)}/${event.steps}`,
    `loss ${event.loss.toFixed(4)}`,
    `lr ${formatRate(event.learningRate)}`,
    ...(event.gradNorm === undefined ? [] : [`norm ${event.gradNorm.toPrecision(3)}`]),
    `${formatCount(Math.round(event.tokensPerSecond))} tok/s`,
    `ETA ${formatDuration(event.etaMs)}`,
    `mem ${formatBytes(event.memory.now)} / ${formatBytes(event.memory.peak)}`,
  ];
  return parts.join('  ');
}

function evalLine({ step, loss, perplexity, tokens, best }: EvalEvent, style: Style): string {
  const text = `eval at step ${step}: loss ${loss.toFixed(4)}, perplexity ${perplexity.toPrecision(4)}, ${formatCount(tokens)} tokens`;
  return best ? `${text} ${style('green', '(best)')}` : text;
}

const endings = { completed: 'Done', 'early-stopped': 'Stopped early, for want of a better loss,', stopped: 'Stopped' };

/** The end of a run. */
export function resultText(result: TrainResult, style: Style): string {
  const { status, bestEvalLoss, bestStep } = result;
  const ending = style(status === 'stopped' ? 'yellow' : 'green', endings[status]);
  const atStep = bestStep === undefined ? '' : ` at step ${bestStep}`;
  const best = bestEvalLoss === undefined ? '' : `, best eval loss ${bestEvalLoss.toFixed(4)}${atStep}`;
  const duration = formatDuration(result.elapsedMs);
  return [
    `${ending} after ${formatCount(result.steps)} steps and ${duration}: loss ${result.finalLoss.toFixed(4)}${best}`,
    `${formatCount(result.tokens)} tokens, peak memory ${formatBytes(result.peakBytes)} (planned ${formatBytes(result.plannedBytes)})`,
  ].join('\n');
}
