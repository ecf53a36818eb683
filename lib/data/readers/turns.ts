import type { ChatMessage } from '../chat-template.js';
import { type ChatTurn, describe, invalidRow, isRow, type Row } from './reader.js';

const roles = new Set(['system', 'developer', 'user', 'assistant', 'tool', 'function', 'observation', 'environment', 'ipython']);

/** Keys that steer training and are not shown to the template. */
const flagNames = ['loss_weight', 'weight', 'train'] as const;

/**
 * OpenAI messages. `content` is text or a list of parts: `text`, `reasoning` (becomes `reasoning_content`), `tool_call` (becomes
 * `tool_calls`). `loss_weight`, `weight` or `train` (0, 1, true, false) says whether the turn is learned.
 */
export function readMessages(value: unknown, where: string, name = 'messages'): ChatTurn[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw invalidRow(where, `"${name}" must be a list of at least one { role, content }; came ${describe(value)}.`);
  }
  return value.map((item: unknown, i) => readMessage(item, `${where}: ${name}[${i}]`));
}

function readMessage(item: unknown, where: string): ChatTurn {
  if (!isRow(item) || typeof item.role !== 'string') throw invalidRow(where, `wanted { role, content }; came ${describe(item)}.`);
  if (!roles.has(item.role)) throw invalidRow(where, `unknown role "${item.role}"; wanted ${[...roles].join(', ')}.`);
  const message: ChatMessage = { ...item, role: item.role, content: '' };
  for (const name of flagNames) delete message[name];
  readContent(item.content, message, where);
  if (message.tool_calls !== undefined) message.tool_calls = readToolCalls(message.tool_calls, where);
  if (item.content === undefined && message.tool_calls === undefined) throw invalidRow(where, 'the message has no "content".');
  return { message, learned: readFlag(item, where) };
}

function readContent(content: unknown, message: ChatMessage, where: string): void {
  if (typeof content === 'string') message.content = content;
  if (typeof content === 'string' || content === undefined || content === null) return;
  if (!Array.isArray(content)) throw invalidRow(where, `"content" must be text or a list of parts; came ${describe(content)}.`);
  const calls: unknown[] = [];
  for (const part of content as unknown[]) {
    const text = typeof part === 'string' ? part : isRow(part) ? (part.text ?? part.value) : undefined;
    const type = isRow(part) ? part.type : 'text';
    if (typeof text !== 'string') throw invalidRow(where, `a part of "content" must have a "text" or "value"; came ${describe(part)}.`);
    if (type === 'text') message.content += text;
    else if (type === 'reasoning') message.reasoning_content = `${(message.reasoning_content as string | undefined) ?? ''}${text}`;
    else if (type === 'tool_call') calls.push(parseJson(text, where, 'tool_call'));
    else
      throw invalidRow(where, `a part of the type ${JSON.stringify(type)} cannot be learned; only text is (text, reasoning, tool_call).`);
  }
  if (calls.length > 0) message.tool_calls = [...(Array.isArray(message.tool_calls) ? message.tool_calls : []), ...calls.flat()];
}

function readFlag(item: Row, where: string): boolean | undefined {
  for (const name of flagNames) {
    const value = item[name];
    if (value === undefined || value === null) continue;
    if (value === 0 || value === false) return false;
    if (value === 1 || value === true) return true;
    throw invalidRow(where, `"${name}" must be 0 or 1 (a turn is learned or not); came ${describe(value)}.`);
  }
  return undefined;
}

export function parseJson(text: string, where: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalidRow(where, `"${name}" must hold JSON (${(error as Error).message}); came ${describe(text)}.`);
  }
}

/** Calls as templates want them: `{ type: 'function', function: { name, arguments } }`, arguments parsed where they are JSON text. */
export function readToolCalls(value: unknown, where: string): unknown[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw invalidRow(where, `"tool_calls" must be a list; came ${describe(value)}.`);
  return value.map((call: unknown) => {
    const inner = isRow(call) && isRow(call.function) ? call.function : call;
    if (!isRow(inner) || typeof inner.name !== 'string') throw invalidRow(where, `a tool call needs a "name"; came ${describe(call)}.`);
    const given = inner.arguments;
    const parsed = typeof given === 'string' ? parseJson(given, where, `arguments of ${inner.name}`) : given;
    return { type: 'function', ...(isRow(call) && isRow(call.function) ? call : {}), function: { ...inner, arguments: parsed ?? {} } };
  });
}

/** Tool schemas: a list or its JSON text; bare functions get the `{ type, function }` around them that templates expect. */
export function readTools(value: unknown, where: string): unknown[] | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const list = typeof value === 'string' ? parseJson(value, where, 'tools') : value;
  if (!Array.isArray(list)) throw invalidRow(where, `"tools" must be a list of function schemas; came ${describe(list)}.`);
  if (list.length === 0) return undefined;
  return list.map((tool: unknown) =>
    isRow(tool) && typeof tool.name === 'string' && !tool.function ? { type: 'function', function: tool } : tool,
  );
}
