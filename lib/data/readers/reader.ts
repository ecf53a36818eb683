import { FinetuneError } from '../../native/errors.js';
import type { ChatMessage } from '../chat-template.js';

/** A turn of a conversation, and whether it is learned; undefined = assistant turns are. */
export interface ChatTurn {
  message: ChatMessage;
  learned?: boolean | undefined;
}

export interface ChatSample {
  kind: 'chat';
  turns: ChatTurn[];
  tools?: unknown;
  /** Further variables for the template, from the row's `chat_template_kwargs`. */
  variables?: Record<string, unknown>;
  /** The same as plain text, for models without a chat template. */
  plain?: { prompt: string; completion: string };
}

export interface PairSample {
  kind: 'pair';
  prompt: string;
  completion: string;
}

export interface TextSample {
  kind: 'text';
  text: string;
}

export interface TokenSample {
  kind: 'tokens';
  inputIds: number[];
  labels?: number[];
}

/** What a row says, whatever its format: the four ways in which tokens are made. */
export type Sample = ChatSample | PairSample | TextSample | TokenSample;

export type Row = Readonly<Record<string, unknown>>;

/** One format of rows. */
export interface Reader {
  /** The keys that tell it, in words, for reports and errors. */
  readonly keys: string;
  /** Whether the row has this format, judged by its keys alone. */
  matches(row: Row): boolean;
  /** The row's samples, mostly one. Throws ERR_DATA_INVALID; `where` begins the message. */
  read(row: Row, where: string): Sample[];
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function invalidRow(where: string, message: string): FinetuneError {
  return new FinetuneError('ERR_DATA_INVALID', `${where}: ${message}`, { where });
}

/** What a value is, short enough for a message. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return `an object with the keys ${Object.keys(value).slice(0, 8).join(', ') || '(none)'}`;
  if (typeof value === 'string') return `the text ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value)}`;
  return value === undefined ? 'nothing' : String(value);
}

export function requireString(value: unknown, where: string, name: string): string {
  if (typeof value === 'string') return value;
  throw invalidRow(where, `"${name}" must be text; came ${describe(value)}.`);
}

/** A string that may be left out, null or empty. */
export function optionalString(value: unknown, where: string, name: string): string {
  return value === undefined || value === null ? '' : requireString(value, where, name);
}
