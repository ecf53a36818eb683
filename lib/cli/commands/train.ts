import type { Command } from 'commander';
import { resolveLayers } from '../../config/resolve.js';
import { type TrainConfigInput, trainConfigSchema } from '../../config/schema.js';
import { learningRateTable } from '../../optimizers/index.js';
import type { TrainingRun } from '../api.js';
import type { RegisterCommand } from '../commands.js';
import { type CommandContext, styleFor, writeJson } from '../context.js';
import { resultText } from '../event-text.js';
import { shellQuote } from '../format.js';
import { createReporter } from '../progress.js';
import { addRunSettings, listSettings, settingLayers, settingsJson, settingsYaml } from '../settings.js';
import { formatTable } from '../table.js';
import { planText } from './plan-text.js';

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

const examples = `
Examples:
  node-finetune train ./model ./data.jsonl --out ./adapter
  node-finetune train ./model ./data.jsonl --out ./adapter --rank 32 --epochs 3 --validation-split 0.05
  node-finetune train ./model ./data.jsonl --out ./tuned --method full --optimizer lomo --dtype bf16 --checkpointing block
  node-finetune train --config run.yaml --set method.rank=8 --resume
`;

export const registerTrain: RegisterCommand = (program, context, setExitCode) => {
  const command = program
    .command('train')
    .description('Fine-tune a model on your data')
    .argument('[model]', 'Hugging Face model folder or GGUF file')
    .argument('[data]', 'JSONL or plain text file')
    .option('--json', 'Every event as one line of JSON on stdout')
    .option('--print-config', 'Print all settings with where each comes from, and stop')
    .option('--dry-run', 'Check the settings, print the memory plan, and stop');
  addRunSettings(
    command,
    trainConfigSchema,
    Object.keys(trainConfigSchema.shape).filter((key) => key !== 'model' && key !== 'data'),
  )
    .addHelpText('after', () => `\n${learningRateText()}${examples}`)
    .action(async (model: string | undefined, data: string | undefined) => {
      setExitCode(await train(command, context, { model, data }));
    });
};

/** What --learning-rate auto stands for, and why. */
function learningRateText(): string {
  const rows = learningRateTable().map(({ method, optimizer, value, source }) => [`  ${method}`, optimizer, String(value), source]);
  return `Learning rates that auto stands for:\n${formatTable([{}, {}, { align: 'right' }, {}], rows)}`;
}

async function train(
  command: Command,
  context: CommandContext,
  places: { model: string | undefined; data: string | undefined },
): Promise<number> {
  const flags = command.optsWithGlobals<{
    json?: boolean;
    printConfig?: boolean;
    dryRun?: boolean;
    color: boolean;
    resume?: string | true;
  }>();
  const json = flags.json === true;
  const { config, merged } = resolveLayers(settingLayers(command, context, trainConfigSchema, places));
  if (flags.printConfig) {
    const settings = listSettings(config, merged, trainConfigSchema);
    if (json) writeJson(context.stdout, settingsJson(settings));
    else context.stdout.write(settingsYaml(settings));
    return 0;
  }
  // The library fills in the defaults itself, so it gets what was written, not what was resolved.
  const input = merged.value as TrainConfigInput;
  const api = await context.api();
  if (flags.dryRun) {
    const { data: _data, out: _out, ...rest } = input;
    const report = await api.plan(rest);
    if (json) writeJson(context.stdout, report);
    else context.stdout.write(planText(report));
    return 0;
  }
  const resume = resumeCommand(context.args, flags.resume);
  return follow(api.train(input), context, { json, color: flags.color, resume });
}

/** Shows a run to its end; stops it gently at the first signal and ends the process at the second. */
async function follow(
  run: TrainingRun,
  context: CommandContext,
  options: { json: boolean; color: boolean; resume: string },
): Promise<number> {
  const reporter = createReporter(context, options);
  const style = styleFor(context.stderr, context.environment, options.color);
  let signal: keyof typeof exitCodes | undefined;
  const unsubscribe = context.onSignal((received) => {
    if (signal) {
      reporter.close();
      context.exitNow(exitCodes[received]);
      return;
    }
    signal = received;
    reporter.close();
    context.stderr.write(
      `${style('yellow', 'Stopping')} after this step; once more to quit at once and lose what was done since the last checkpoint.\n`,
    );
    // A failure of the run itself is reported below, where the run is awaited.
    run.stop().catch(() => undefined);
  });
  try {
    for await (const event of run) reporter.event(event);
    const result = await run;
    reporter.close();
    if (!options.json) {
      context.stderr.write(`${resultText(result, style)}\n`);
      if (result.status !== 'stopped') context.stdout.write(`${result.out}\n`);
    }
    if (result.status === 'stopped' && result.checkpoint) {
      context.stderr.write(`Checkpoint: ${result.checkpoint}\nContinue with: ${options.resume}\n`);
    }
    return result.status === 'stopped' && signal ? exitCodes[signal] : 0;
  } finally {
    reporter.close();
    unsubscribe();
  }
}

/** The command line that continues this run: the same words, with --resume at the end. */
function resumeCommand(words: readonly string[], resume: string | true | undefined): string {
  const kept = words.filter((word, i) => {
    if (word === '--resume' || word.startsWith('--resume=') || word === '--overwrite') return false;
    return !(words[i - 1] === '--resume' && word === resume);
  });
  return ['node-finetune', ...kept, '--resume'].map(shellQuote).join(' ');
}
