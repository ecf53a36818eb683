import {
  type ChatSample,
  type ChatTurn,
  describe,
  invalidRow,
  isRow,
  optionalString,
  type Reader,
  type Row,
  requireString,
} from './reader.js';

/** The prompt of Stanford Alpaca, which base models are customarily tuned with. Source: tatsu-lab/stanford_alpaca, "Data Release". */
function alpacaPrompt(instruction: string, input: string): string {
  const task = 'Below is an instruction that describes a task';
  const ask = 'Write a response that appropriately completes the request.';
  return input === ''
    ? `${task}. ${ask}\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `${task}, paired with an input that provides further context. ${ask}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
}

function history(row: Row, where: string): ChatTurn[] {
  if (row.history === undefined || row.history === null) return [];
  if (!Array.isArray(row.history)) throw invalidRow(where, `"history" must be a list of [user, assistant]; came ${describe(row.history)}.`);
  return row.history.flatMap((pair: unknown, i) => {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw invalidRow(where, `history[${i}] must be [user, assistant]; came ${describe(pair)}.`);
    return [
      { message: { role: 'user', content: requireString(pair[0], where, `history[${i}][0]`) } },
      { message: { role: 'assistant', content: requireString(pair[1], where, `history[${i}][1]`) } },
    ];
  });
}

function sample(row: Row, input: string, output: string, where: string): ChatSample {
  const instruction = requireString(row.instruction, where, 'instruction');
  const system = optionalString(row.system, where, 'system');
  const before = history(row, where);
  const turns: ChatTurn[] = [
    ...(system === '' ? [] : [{ message: { role: 'system', content: system } }]),
    ...before,
    { message: { role: 'user', content: input === '' ? instruction : `${instruction}\n${input}` } },
    { message: { role: 'assistant', content: output } },
  ];
  // Alpaca's own prompt has no room for a system text or earlier turns.
  if (system !== '' || before.length > 0) return { kind: 'chat', turns };
  return { kind: 'chat', turns, plain: { prompt: alpacaPrompt(instruction, input), completion: output } };
}

/**
 * `{ instruction, input?, output, system?, history? }`: the user turn is instruction, line break, input. Self-instruct's
 * `{ instruction, instances: [{ input, output }] }` gives one conversation for each instance.
 */
export const alpaca: Reader = {
  keys: 'instruction and output (or instances)',
  matches: (row) => row.instruction !== undefined && (row.output !== undefined || Array.isArray(row.instances)),
  read(row, where) {
    if (row.output !== undefined) {
      return [sample(row, optionalString(row.input, where, 'input'), requireString(row.output, where, 'output'), where)];
    }
    return (row.instances as unknown[]).map((instance, i) => {
      const at = `${where}: instances[${i}]`;
      if (!isRow(instance)) throw invalidRow(at, `wanted { input, output }; came ${describe(instance)}.`);
      return sample(row, optionalString(instance.input, at, 'input'), requireString(instance.output, at, 'output'), at);
    });
  },
};
