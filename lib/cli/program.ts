import { Command, CommanderError } from 'commander';
import { suggest } from '../config/suggest.js';
import { FinetuneError } from '../native/errors.js';
import { packageVersion } from '../version.js';
import { commands } from './commands.js';
import { type CommandContext, messageOf, styleFor, writeJson } from './context.js';

/** Exit code of a usage error: an unknown flag, command or argument. */
const usageError = 2;

/** The whole command line; actions report their exit code through `setExitCode`. */
export function buildProgram(context: CommandContext, setExitCode: (code: number) => void): Command {
  const program = new Command('node-finetune')
    .description('Fine-tune large language models: memory planned to the byte, LoRA and full-parameter.')
    .version(packageVersion, '-V, --version', 'Print the version')
    .option('--no-color', 'No colours (also: NO_COLOR=1)');
  for (const register of commands) register(program, context, setExitCode);
  for (const command of everyCommand(program)) {
    command
      .exitOverride()
      .configureOutput({
        writeOut: (text) => context.stdout.write(text),
        writeErr: (text) => context.stderr.write(text),
        outputError: () => undefined,
        getOutHelpWidth: () => context.stdout.columns ?? 100,
        getErrHelpWidth: () => context.stderr.columns ?? 100,
      })
      .helpOption('-h, --help', 'Print help')
      .helpCommand(false);
  }
  return program;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/** Runs one command line and returns its exit code. Never throws. */
export async function runCli(context: CommandContext): Promise<number> {
  let exitCode = 0;
  const program = buildProgram(context, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(context.args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    // "node-finetune" and "node-finetune inspect" alone show what there is, as an error.
    if (error instanceof CommanderError && error.code === 'commander.help') return usageError;
    return reportError(error, program, context);
  }
}

function reportError(error: unknown, program: Command, context: CommandContext): number {
  const { args } = context;
  const { exitCode, message } = describe(error, program, args);
  // Whoever reads NDJSON learns the reason on the same stream; people read stderr.
  if (args.includes('--json')) {
    const details = error instanceof FinetuneError ? error.toJSON() : { name: error instanceof Error ? error.name : 'Error', message };
    writeJson(context.stdout, { type: 'error', exitCode, ...details });
  }
  const style = styleFor(context.stderr, context.environment, !args.includes('--no-color'));
  const code = error instanceof FinetuneError ? ` ${style('dim', `[${error.code}]`)}` : '';
  context.stderr.write(`${style('red', 'error:')} ${message}${code}\n`);
  if (!(error instanceof FinetuneError || error instanceof CommanderError) && exitCode === 1 && context.environment['NODE_DEBUG']) {
    context.stderr.write(`${error instanceof Error ? error.stack : ''}\n`);
  }
  return exitCode;
}

function describe(error: unknown, program: Command, args: readonly string[]): { exitCode: number; message: string } {
  if (error instanceof FinetuneError) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof Error && error.name === 'AbortError') return { exitCode: 130, message: 'aborted' };
  if (error instanceof CommanderError) return { exitCode: usageError, message: usageMessage(error, program, args) };
  return { exitCode: 1, message: messageOf(error) };
}

/** Our words for commander's errors: with the flag or command that was probably meant, and where to look. */
function usageMessage(error: CommanderError, program: Command, args: readonly string[]): string {
  const command = commandOf(program, args);
  const help = `See ${commandPath(command)} --help`;
  const text = error.message.replace(/^error: /, '').replace(/\n.*$/s, '');
  const unknown = /'([^']*)'/.exec(text)?.[1] ?? '';
  if (error.code === 'commander.unknownOption') {
    const flags = everyFlag(command);
    const near = suggest(unknown.replace(/=.*$/s, ''), flags);
    return `unknown option ${unknown}${near ? `; did you mean ${near}?` : '.'} ${help}`;
  }
  if (error.code === 'commander.unknownCommand') {
    const near = suggest(
      unknown,
      command.commands.map((each) => each.name()),
    );
    return `unknown command ${unknown}${near ? `; did you mean ${near}?` : '.'} ${help}`;
  }
  return `${text}. ${help}`;
}

function commandOf(program: Command, args: readonly string[]): Command {
  let command = program;
  for (const arg of args) {
    const next = command.commands.find((each) => each.name() === arg);
    if (!next) break;
    command = next;
  }
  return command;
}

function commandPath(command: Command): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}` : command.name();
}

function everyFlag(command: Command): string[] {
  const own = command.options.flatMap(({ long }) => long ?? []);
  return [...own, '--help', ...(command.parent ? everyFlag(command.parent) : ['--version'])];
}
