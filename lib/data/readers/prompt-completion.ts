import { type ChatSample, invalidRow, type Reader, type Row, requireString } from './reader.js';
import { readMessages, readTools } from './turns.js';

const names = [
  ['prompt', 'completion'],
  ['prompt', 'response'],
  ['question', 'answer'],
] as const;

function namesOf(row: Row): (typeof names)[number] | undefined {
  return names.find(([prompt, completion]) => row[prompt] !== undefined && row[completion] !== undefined);
}

/** A question is no text that an answer could go on: it is a turn of a conversation, or without a chat template a line of its own. */
function readQuestion(row: Row, where: string): ChatSample {
  const question = requireString(row.question, where, 'question');
  const answer = requireString(row.answer, where, 'answer');
  const turns = [{ message: { role: 'user', content: question } }, { message: { role: 'assistant', content: answer } }];
  return { kind: 'chat', turns, plain: { prompt: `${question}\n`, completion: answer } };
}

/**
 * `{ prompt, completion }` (or `response`), both text or both lists of messages; of messages, the assistant's in the completion are learned.
 * `{ question, answer }` is a conversation. Source: TRL, "Dataset formats", prompt-completion.
 */
export const promptCompletion: Reader = {
  keys: 'prompt and completion (or response), or question and answer',
  matches: (row) => namesOf(row) !== undefined,
  read(row, where) {
    const [promptName, completionName] = namesOf(row) ?? names[0];
    if (promptName === 'question') return [readQuestion(row, where)];
    const prompt = row[promptName];
    const completion = row[completionName];
    if (!Array.isArray(prompt) && !Array.isArray(completion)) {
      const text = requireString(completion, where, completionName);
      return [{ kind: 'pair', prompt: requireString(prompt, where, promptName), completion: text }];
    }
    if (!Array.isArray(prompt) || !Array.isArray(completion)) {
      throw invalidRow(where, `"${promptName}" and "${completionName}" must both be text or both be lists of messages.`);
    }
    const before = prompt.length === 0 ? [] : readMessages(prompt, where, promptName);
    const tools = readTools(row.tools, where);
    const turns = [
      ...before.map((turn) => ({ ...turn, learned: turn.learned ?? false })),
      ...readMessages(completion, where, completionName),
    ];
    return [{ kind: 'chat', turns, ...(tools && { tools }) }];
  },
};
