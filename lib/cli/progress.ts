import type { TrainEvent } from '../trainer/events.js';
import { type CommandContext, isLive, type Output, type Style, styleFor, writeJson } from './context.js';
import { eventText, stepLine } from './event-text.js';
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
      const text = eventText(event, style);
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
      const text = eventText(event, style);
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
