import { invalidRow, isRow, type Reader } from './reader.js';
import { readMessages, readTools } from './turns.js';

/** OpenAI chat rows: `{ messages: [{ role, content }], tools?, chat_template_kwargs? }`. Source: OpenAI fine-tuning guide, TRL dataset formats. */
export const messages: Reader = {
  keys: 'messages',
  matches: (row) => Array.isArray(row.messages),
  read(row, where) {
    const tools = readTools(row.tools, where);
    const variables = row.chat_template_kwargs ?? {};
    if (!isRow(variables)) throw invalidRow(where, '"chat_template_kwargs" must be an object.');
    return [{ kind: 'chat', turns: readMessages(row.messages, where), variables: { ...variables }, ...(tools && { tools }) }];
  },
};
