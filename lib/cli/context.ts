import type { Readable } from 'node:stream';
import { inspect, styleText } from 'node:util';
import type { Api, Demo } from './api.js';

/** Where text goes: process.stdout, process.stderr, or a test's buffer. */
export interface Output {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
}

/** Everything a command touches outside itself, so that tests can hand in their own. */
export interface CommandContext {
  /** The words of the command line, without node and script. */
  args: readonly string[];
  /** Data: results and NDJSON. */
  stdout: Output;
  /** Everything for people: progress, tables of a running command, errors. */
  stderr: Output;
  stdin: Readable & { isTTY?: boolean | undefined };
  environment: NodeJS.ProcessEnv;
  /** The library, loaded when the first command needs it: --help must not load the addon. */
  api(): Promise<Api>;
  demo(): Promise<Demo>;
  /** Calls `handler` for every SIGINT and SIGTERM until the returned function is called. */
  onSignal(handler: (signal: 'SIGINT' | 'SIGTERM') => void): () => void;
  /** Ends the process at once, as after a second signal. */
  exitNow(code: number): void;
}

export type Style = (format: Parameters<typeof styleText>[0], text: string) => string;

/** Colours for an output: off by --no-color, NO_COLOR, TERM=dumb or where nobody looks; on by FORCE_COLOR. */
export function styleFor(output: Output, environment: NodeJS.ProcessEnv, flag = true): Style {
  const { NO_COLOR, FORCE_COLOR, TERM } = environment;
  const forced = FORCE_COLOR !== undefined && FORCE_COLOR !== '0' && FORCE_COLOR !== 'false';
  const on = flag && !NO_COLOR && (forced || (FORCE_COLOR === undefined && output.isTTY === true && TERM !== 'dumb'));
  return on ? (format, text) => styleText(format, text, { validateStream: false }) : (_, text) => text;
}

/** Whether a line may be redrawn: a terminal, not a build log. */
export function isLive(output: Output, environment: NodeJS.ProcessEnv): boolean {
  return output.isTTY === true && !environment['CI'] && environment['TERM'] !== 'dumb';
}

/** One JSON document per line. Non-finite numbers, which JSON lacks, become null. */
export function writeJson(output: Output, value: unknown): void {
  output.write(`${JSON.stringify(value)}\n`);
}

/** Text of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : inspect(error);
}
