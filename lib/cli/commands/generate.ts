import type { Command } from 'commander';
import { configError } from '../../config/problems.js';
import { jsonSchemaOf } from '../../config/resolve.js';
import type { ChatMessage } from '../../data/chat-template.js';
import type { Model } from '../api.js';
import type { RegisterCommand } from '../commands.js';
import { type CommandContext, writeJson } from '../context.js';
import { addSettingFlags } from '../flags.js';
import { generateCommandSchema, splitLoadOptions } from '../options.js';
import { commandOptions } from '../settings.js';
import { abortOnSignal } from '../signals.js';

interface Flags {
  json?: boolean;
  raw?: boolean;
  system?: string;
}

export const registerGenerate: RegisterCommand = (program, context) => {
  const command = program
    .command('generate')
    .description('Continue a prompt, with or without an adapter')
    .argument('<model>', 'Model folder or GGUF file')
    .argument('[prompt...]', 'Prompt; read from stdin if missing')
    .option('--raw', 'Continue the prompt as it is, even if the model has a chat template')
    .option('--system <text>', 'System message before the prompt')
    .option('--json', 'The prompt and the text as JSON on stdout');
  addSettingFlags(command, jsonSchemaOf(generateCommandSchema));
  command.action(async (path: string, words: string[]) => {
    const flags = command.opts<Flags>();
    const { model: modelOptions, sampling } = generationOptions(command, context);
    const prompt = words.length ? words.join(' ') : await readPrompt(context);
    await abortOnSignal(context, async (signal) => {
      const api = await context.api();
      await using model = await api.loadModel({ path, ...modelOptions, signal });
      const input = promptFor(model, prompt, flags);
      if (flags.json) {
        let text = '';
        for await (const piece of model.generate(input, { ...sampling, signal })) text += piece;
        writeJson(context.stdout, { prompt, text });
        return;
      }
      for await (const piece of model.generate(input, { ...sampling, signal })) context.stdout.write(piece);
      context.stdout.write('\n');
    });
  });
};

/** Flags of a command that generates, split into those of the model and those of the sampling. */
export function generationOptions(command: Command, context: CommandContext) {
  const { model, others: sampling } = splitLoadOptions(commandOptions(command, context, generateCommandSchema));
  return { model, sampling };
}

function promptFor(model: Model, prompt: string, { raw, system }: Flags): string | ChatMessage[] {
  if (raw || !model.hasChatTemplate) {
    if (system === undefined) return prompt;
    const message = raw ? 'has no place in a raw prompt; leave --raw or --system out' : 'needs a chat template, and this model has none';
    throw configError([{ path: [], message, origin: { kind: 'flag', label: '--system' } }]);
  }
  return [...(system === undefined ? [] : [{ role: 'system' as const, content: system }]), { role: 'user', content: prompt }];
}

async function readPrompt(context: CommandContext): Promise<string> {
  if (context.stdin.isTTY)
    throw configError([
      { path: [], message: 'no prompt: give it as an argument or on stdin', origin: { kind: 'flag', label: 'argument prompt' } },
    ]);
  const pieces: Buffer[] = [];
  for await (const piece of context.stdin) pieces.push(Buffer.from(piece as Uint8Array | string));
  return Buffer.concat(pieces).toString('utf8').replace(/\n$/, '');
}
