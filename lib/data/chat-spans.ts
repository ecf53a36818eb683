import { FinetuneError } from '../native/errors.js';
import type { ChatMessage } from './chat-template.js';
import type { ChatSample } from './readers/reader.js';
import type { Span } from './segments.js';
import type { Tokenizer } from './tokenizer.js';

/** A rendered conversation and the parts of it that are learned. */
export interface RenderedChat {
  text: string;
  spans: Span[];
}

/**
 * Renders a conversation and finds its learned turns by rendering it turn by turn: a turn is learned from where generation
 * would begin (the rendered history with the generation prompt) to the end of what the template adds after it (`<|im_end|>`, line break).
 *
 * Some templates show earlier turns otherwise than the last (thinking is dropped from history). The conversation then gives several
 * results, each ending with a turn exactly as the model would generate it; every learned turn is in exactly one of them.
 */
export function renderChat(tokenizer: Tokenizer, sample: ChatSample, learnAll: boolean): RenderedChat[] {
  const messages = sample.turns.map((turn) => turn.message);
  const render = (count: number, addGenerationPrompt = false, last?: ChatMessage): string =>
    tokenizer.applyChatTemplate([...messages.slice(0, count), ...(last ? [last] : [])], {
      addGenerationPrompt,
      ...(sample.tools !== undefined && { tools: sample.tools }),
      ...(sample.variables && { variables: sample.variables }),
    });

  if (learnAll) {
    const text = render(messages.length);
    return [{ text, spans: [{ start: 0, end: text.length }] }];
  }
  const chats: RenderedChat[] = [];
  for (const [i, turn] of sample.turns.entries()) {
    if (!(turn.learned ?? turn.message.role === 'assistant')) continue;
    const text = render(i + 1);
    const start = turnStart(render, turn.message, i, text);
    requireToolCalls(turn.message, text.slice(start));
    const span = { start, end: text.length };
    const open = chats.at(-1);
    if (open && start >= open.text.length && text.startsWith(open.text)) {
      open.text = text;
      open.spans.push(span);
    } else {
      chats.push({ text, spans: [span] });
    }
  }
  return chats;
}

type Render = (count: number, addGenerationPrompt?: boolean, last?: ChatMessage) => string;

/** Where turn i begins to be generated in the text that ends with it. */
function turnStart(render: Render, message: ChatMessage, i: number, text: string): number {
  const start = i === 0 ? startOfFirst(render, message, text) : startAfterHistory(render, message.role === 'assistant', i, text);
  const answer = message.content.split('</think>').at(-1)?.trim() ?? '';
  if (start === undefined || !text.slice(start).includes(answer)) {
    throw new FinetuneError(
      'ERR_DATA_INVALID',
      `turn ${i} (${message.role}) cannot be found in what the chat template makes of the conversation: the rendered beginning of the ` +
        'conversation is no beginning of the rendered whole, so the loss mask is unknown. Use another chat_template, or train on all (trainOn: all).',
      { turn: i },
    );
  }
  return start;
}

function startAfterHistory(render: Render, generated: boolean, i: number, text: string): number | undefined {
  const before = render(i, generated);
  if (text.startsWith(before)) return before.length;
  const history = render(i);
  if (!generated || !text.startsWith(history)) return undefined;
  // The prompt may open what the turn fills in otherwise (an empty thinking block against thoughts): both share the header.
  const common = commonLength(before, text);
  return common > history.length ? common : undefined;
}

/**
 * Without any message templates fail, or leave out what they put in front of the first one, so the turn is rendered with two other
 * contents: what both begin with precedes the content.
 */
function startOfFirst(render: Render, message: ChatMessage, text: string): number | undefined {
  const [a, b] = ['alpha', 'omega'].map((content) => render(0, false, { ...message, content })) as [string, string];
  const common = commonLength(a, b);
  return common < a.length && text.startsWith(a.slice(0, common)) ? common : undefined;
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** A template that knows no tools shows a call as an empty answer, which must not be learned. */
function requireToolCalls(message: ChatMessage, learned: string): void {
  if (!Array.isArray(message.tool_calls)) return;
  for (const call of message.tool_calls as { function: { name: string } }[]) {
    if (learned.includes(call.function.name)) continue;
    throw new FinetuneError(
      'ERR_DATA_INVALID',
      `the chat template leaves out the call of the tool "${call.function.name}". Use a model whose chat template knows tool_calls, ` +
        'or write the calls into the content of the messages.',
      { tool: call.function.name },
    );
  }
}
