import { createInterface } from 'node:readline';
import { jsonSchemaOf } from '../../config/resolve.js';
import type { ChatMessage } from '../../data/chat-template.js';
import type { GenerateOptions } from '../../generate/options.js';
import { FinetuneError } from '../../native/errors.js';
import type { Model } from '../api.js';
import type { RegisterCommand } from '../commands.js';
import { type CommandContext, messageOf, styleFor } from '../context.js';
import { addSettingFlags } from '../flags.js';
import { generateCommandSchema } from '../options.js';
import { generationOptions } from './generate.js';

const help = '/reset forgets the conversation, /exit ends it; Ctrl-C stops an answer.';

export const registerChat: RegisterCommand = (program, context, setExitCode) => {
  const command = program
    .command('chat')
    .description('Talk to a model, with or without an adapter')
    .argument('<model>', 'Model folder or GGUF file')
    .option('--system <text>', 'System message of the conversation');
  addSettingFlags(command, jsonSchemaOf(generateCommandSchema));
  command.action(async (path: string) => {
    const { system, color } = command.optsWithGlobals<{ system?: string; color: boolean }>();
    const { model: modelOptions, sampling } = generationOptions(command, context);
    const api = await context.api();
    await using model = await api.loadModel({ path, ...modelOptions });
    if (!model.hasChatTemplate) {
      throw new FinetuneError(
        'ERR_MODEL_UNSUPPORTED',
        `${path} has no chat template, so there is nothing to talk to; use node-finetune generate to continue text`,
        { path },
      );
    }
    setExitCode(await talk(model, context, { system, color, sampling }));
  });
};

async function talk(
  model: Model,
  context: CommandContext,
  options: { system: string | undefined; color: boolean; sampling: GenerateOptions },
): Promise<number> {
  const style = styleFor(context.stderr, context.environment, options.color);
  const start = (): ChatMessage[] => (options.system === undefined ? [] : [{ role: 'system', content: options.system }]);
  const ask = () => context.stderr.write(style('cyan', '> '));
  const lines = createInterface({ input: context.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  let messages = start();
  let answering: AbortController | undefined;
  let exitCode = 0;
  const unsubscribe = context.onSignal((signal) => {
    if (answering && !answering.signal.aborted) {
      answering.abort();
      return;
    }
    exitCode = signal === 'SIGTERM' ? 143 : 130;
    lines.close();
  });
  try {
    context.stderr.write(`${style('dim', help)}\n`);
    ask();
    for await (const line of lines) {
      const text = line.trim();
      if (text === '/exit' || text === '/quit') break;
      if (text === '/reset') messages = start();
      else if (text === '/help') context.stderr.write(`${help}\n`);
      else if (text) {
        answering = new AbortController();
        messages = await answer(model, [...messages, { role: 'user', content: text }], context, {
          ...options.sampling,
          signal: answering.signal,
        });
        answering = undefined;
      }
      ask();
    }
    return exitCode;
  } finally {
    lines.close();
    unsubscribe();
  }
}

/** Streams one answer and returns the conversation with it; an answer that was stopped or failed is kept as far as it came. */
async function answer(
  model: Model,
  messages: ChatMessage[],
  context: CommandContext,
  options: GenerateOptions & { signal: AbortSignal },
): Promise<ChatMessage[]> {
  let content = '';
  try {
    for await (const piece of model.generate(messages, options)) {
      content += piece;
      context.stdout.write(piece);
    }
  } catch (error) {
    if (!options.signal.aborted) context.stderr.write(`\n${messageOf(error)}`);
  }
  context.stdout.write('\n');
  return content ? [...messages, { role: 'assistant', content }] : messages.slice(0, -1);
}
