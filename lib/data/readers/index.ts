import { alpaca } from './alpaca.js';
import { messages } from './messages.js';
import { promptCompletion } from './prompt-completion.js';
import type { Reader } from './reader.js';
import { sharegpt } from './sharegpt.js';
import { text } from './text.js';
import { tokenized } from './tokenized.js';

/** Formats of rows by name, in the order in which detection tries them: a new format is a file and a line here. */
export const readers = {
  tokenized,
  messages,
  sharegpt,
  'prompt-completion': promptCompletion,
  alpaca,
  text,
} as const satisfies Record<string, Reader>;

export type FormatName = keyof typeof readers;
