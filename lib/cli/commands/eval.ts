import { jsonSchemaOf } from '../../config/resolve.js';
import type { RegisterCommand } from '../commands.js';
import { writeJson } from '../context.js';
import { addSettingFlags } from '../flags.js';
import { formatBytes } from '../format.js';
import { evaluateCommandSchema, splitLoadOptions } from '../options.js';
import { commandOptions } from '../settings.js';
import { abortOnSignal } from '../signals.js';
import { formatTable, reportRows } from '../table.js';

export const registerEval: RegisterCommand = (program, context) => {
  const command = program
    .command('eval')
    .description('Token-weighted loss and perplexity of a model on data')
    .argument('<model>', 'Model folder or GGUF file')
    .argument('<data>', 'JSONL or plain text file')
    .option('--logits <file>', 'Also write the logits of every token to a safetensors file')
    .option('--json', 'As JSON on stdout');
  addSettingFlags(command, jsonSchemaOf(evaluateCommandSchema));
  command.action(async (path: string, data: string) => {
    const { json, logits } = command.opts<{ json?: boolean; logits?: string }>();
    const { model: modelOptions, others: options } = splitLoadOptions(commandOptions(command, context, evaluateCommandSchema));
    await abortOnSignal(context, async (signal) => {
      const api = await context.api();
      await using model = await api.loadModel({ path, ...modelOptions, signal });
      const result = await model.evaluate(data, { ...options, signal, ...(logits !== undefined && { logits }) });
      if (json) writeJson(context.stdout, result);
      else {
        const { warnings, ...report } = result;
        for (const message of warnings) context.stderr.write(`warning: ${message}\n`);
        context.stdout.write(formatTable([{}, {}], reportRows(report, formatBytes)));
      }
    });
  });
};
