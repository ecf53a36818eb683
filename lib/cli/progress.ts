import type { EvalEvent, StepEvent, TrainEvent, TrainResult } from '../trainer/events.js';
import { type CommandContext, isLive, type Output, type Style, styleFor, writeJson } from './context.js';
import { formatBytes, formatCount, formatDuration, formatPercent, formatRate } from './format.js';
import { visibleLength } from './table.js';

/** Shows the events of a run. */
export interface Reporter {
  event(event: TrainEvent): void;
  /** Ends the live line, so that what follows begins on its own. */
  close(): void;
}

/** Redraws at most this often, in ms: faster cannot be read. */
const redrawInterval = 100;

/** NDJSON of every event on stdout with --json; for people on stderr one live line on a terminal, a line per event elsewhere. */
export function createReporter(context: CommandContext, options: { json: boolean; color: boolean; now?: () => number }): Reporter {
  if (options.json) return { event: (event) => writeJson(context.stdout, event), close: () => undefined };
  const style = styleFor(context.stderr, context.environment, options.color);
  if (isLive(context.stderr, context.environment)) return liveReporter(context.stderr, style, options.now ?? Date.now);
  return {
    event: (event) => {
      const text = event.type === 'step' ? stepLine(event) : eventLine(event, style);
      if (text) context.stderr.write(`${text}\n`);
    },
    close: () => undefined,
  };
}

function liveReporter(output: Output, style: Style, now: () => number): Reporter {
  let line = '';
  let drawnAt = Number.NEGATIVE_INFINITY;
  const clear = () => output.write('\r\u001b[2K');
  const draw = () => {
    drawnAt = now();
    const width = Math.max(20, (output.columns ?? 80) - 1);
    clear();
    output.write(visibleLength(line) > width ? `${line.slice(0, width - 1)}…` : line);
  };
  return {
    event: (event) => {
      if (event.type === 'step') {
        line = stepLine(event);
        if (now() - drawnAt >= redrawInterval || event.step === event.steps) draw();
        return;
      }
      const text = eventLine(event, style);
      if (!text) return;
      if (line) clear();
      output.write(`${text}\n`);
      if (line) draw();
    },
    close: () => {
      if (!line) return;
      draw();
      output.write('\n');
      line = '';
    },
  };
}

/** One step for people: step/steps, loss, learning rate, tokens per second, time left, memory now/peak. */
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

function evalLine(event: EvalEvent, style: Style): string {
  const text = `eval at step ${event.step}: loss ${event.loss.toFixed(4)}, perplexity ${event.perplexity.toPrecision(4)}, ${formatCount(event.tokens)} tokens`;
  return event.best ? `${text} ${style('green', '(best)')}` : text;
}

function eventLine(event: Exclude<TrainEvent, StepEvent>, style: Style): string | undefined {
  switch (event.type) {
    case 'start': {
      const { report } = event;
      const share = formatPercent(report.trainableParameters / report.totalParameters);
      return [
        `${style('bold', report.model)} (${report.modelType}), ${report.method} with ${report.optimizer}, ${report.dtype} on ${report.device}`,
        `trains ${formatCount(report.trainableParameters)} of ${formatCount(report.totalParameters)} parameters (${share})`,
        `${formatCount(event.trainExamples)} examples${event.validationExamples ? `, ${formatCount(event.validationExamples)} held out` : ''}, ` +
          `${formatCount(event.steps)} steps${event.startStep ? ` (continues after step ${event.startStep})` : ''}`,
        `planned memory ${formatBytes(report.bytes.total)}${report.bytes.weightsMapped ? ` + ${formatBytes(report.bytes.weightsMapped)} mapped` : ''}`,
        ...event.warnings.map((message) => `${style('yellow', 'warning:')} ${message}`),
      ].join('\n');
    }
    case 'eval':
      return evalLine(event, style);
    case 'checkpoint':
      return style('dim', `checkpoint at step ${event.step}: ${event.path}`);
    case 'warning':
      return `${style('yellow', 'warning:')} ${event.message}`;
    case 'done':
      return undefined;
  }
}

/** The end of a run for people. */
export function resultText(result: TrainResult, style: Style): string {
  const status = { completed: 'Done', 'early-stopped': 'Stopped early: no better loss', stopped: 'Stopped' }[result.status];
  const best = result.bestEvalLoss === undefined ? '' : `, best eval loss ${result.bestEvalLoss.toFixed(4)}${result.bestStep === undefined ? '' : ` at step ${result.bestStep}`}`;
  return [
    `${style(result.status === 'stopped' ? 'yellow' : 'green', status)} after ${formatCount(result.steps)} steps and ${formatDuration(result.elapsedMs)}: loss ${result.finalLoss.toFixed(4)}${best}`,
    `${formatCount(result.tokens)} tokens, peak memory ${formatBytes(result.peakBytes)} (planned ${formatBytes(result.plannedBytes)})`,
  ].join('\n');
}
