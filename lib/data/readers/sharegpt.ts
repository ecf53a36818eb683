import { type ChatTurn, describe, invalidRow, isRow, optionalString, type Reader, requireString } from './reader.js';
import { parseJson, readMessages, readToolCalls, readTools } from './turns.js';

const roleOf: Readonly<Record<string, string>> = {
  system: 'system',
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  chatgpt: 'assistant',
  assistant: 'assistant',
  function_call: 'assistant',
  observation: 'tool',
  tool: 'tool',
};

function readTurn(item: unknown, where: string): ChatTurn {
  if (!isRow(item) || typeof item.from !== 'string') throw invalidRow(where, `wanted { from, value }; came ${describe(item)}.`);
  const role = roleOf[item.from];
  if (role === undefined) throw invalidRow(where, `unknown "from": "${item.from}"; wanted ${Object.keys(roleOf).join(', ')}.`);
  const value = requireString(item.value, where, 'value');
  if (item.from !== 'function_call') return { message: { role, content: value } };
  const calls = [parseJson(value, where, 'value')].flat();
  return { message: { role, content: '', tool_calls: readToolCalls(calls, where) } };
}

/**
 * ShareGPT rows: `{ conversations: [{ from: human | gpt | system | function_call | observation, value }], system?, tools? }`; conversations
 * of `{ role, content }` are read as messages. Source: LLaMA-Factory, data/README.
 */
export const sharegpt: Reader = {
  keys: 'conversations',
  matches: (row) => Array.isArray(row.conversations),
  read(row, where) {
    const list = row.conversations;
    if (!Array.isArray(list) || list.length === 0)
      throw invalidRow(where, `"conversations" must be a list of turns; came ${describe(list)}.`);
    const turns =
      isRow(list[0]) && list[0].role !== undefined
        ? readMessages(list, where, 'conversations')
        : list.map((item: unknown, i) => readTurn(item, `${where}: conversations[${i}]`));
    const system = optionalString(row.system, where, 'system');
    if (system !== '') turns.unshift({ message: { role: 'system', content: system } });
    const tools = readTools(row.tools, where);
    return [{ kind: 'chat', turns, ...(tools && { tools }) }];
  },
};
