import { type Reader, requireString } from './reader.js';

/** `{ text }`: every token is learned. A list of bare strings is read as such rows. */
export const text: Reader = {
  keys: 'text',
  matches: (row) => row.text !== undefined,
  read: (row, where) => [{ kind: 'text', text: requireString(row.text, where, 'text') }],
};
