import { jsonSchemaOf } from '../../config/resolve.js';
import type { RegisterCommand } from '../commands.js';
import { styleFor, writeJson } from '../context.js';
import { addSettingFlags } from '../flags.js';
import { formatBytes } from '../format.js';
import { inspectDataCommandSchema } from '../options.js';
import { commandOptions } from '../settings.js';
import { formatTable, reportRows } from '../table.js';
import { inspectDataText } from './inspect-data-text.js';

export const registerInspect: RegisterCommand = (program, context) => {
  const inspect = program.command('inspect').description('Look at a model or at data before training');

  const model = inspect
    .command('model')
    .description('Architecture, sizes and storage types of a model')
    .argument('<model>', 'Model folder, GGUF file, or a bare config.json')
    .option('--json', 'As JSON on stdout')
    .action(async (path: string) => {
      const summary = await (await context.api()).inspectModel(path);
      if (model.opts<{ json?: boolean }>().json) writeJson(context.stdout, summary);
      else context.stdout.write(formatTable([{}, {}], reportRows(summary, formatBytes)));
    });

  const data = inspect
    .command('data')
    .description('Rows, token lengths, truncation, and one example with its loss mask')
    .argument('<data>', 'JSONL or plain text file')
    .requiredOption('-m, --model <path>', 'Model whose tokenizer and chat template are used')
    .option('--json', 'As JSON on stdout');
  addSettingFlags(data, jsonSchemaOf(inspectDataCommandSchema));
  data.action(async (path: string) => {
    const { json, model: modelPath, color } = data.optsWithGlobals<{ json?: boolean; model: string; color: boolean }>();
    const options = commandOptions(data, context, inspectDataCommandSchema);
    const summary = await (await context.api()).inspectData({ data: path, model: modelPath, ...options });
    if (json) writeJson(context.stdout, summary);
    else context.stdout.write(inspectDataText(summary, styleFor(context.stdout, context.environment, color)));
  });
};
