import { invalidRow, type Reader, requireString, type Row } from './reader.js';
import { readMessages, readTools } from './turns.js';

const names = [
  ['prompt', 'completion'],
  ['prompt', 'response'],
  ['question', 'answer'],
] as const;

function namesOf(row: Row): readonly [string, string] | undefined {
  return names.find(([prompt, completion]) => row[prompt] !== undefined && row[completion] !== undefined);
}

/**
 * `{ prompt, completion }`, both text or both lists of messages; also `prompt`/`response` and `question`/`answer`.
 * Messages of the completion are learned as if they were one answer. Source: TRL, "Dataset formats", prompt-completion.
 */
export const promptCompletion: Reader = {
  keys: 'prompt and completion (or response), or question and answer',
  matches: (row) => namesOf(row) !== undefined,
  read(row, where) {
    const [promptName, completionName] = namesOf(row) ?? names[0];
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
