import { Option } from 'commander';
import type { MergeOptions } from '../../merge.js';
import type { RegisterCommand } from '../commands.js';
import { abortOnSignal } from '../signals.js';

export const registerMerge: RegisterCommand = (program, context) => {
  const command = program
    .command('merge')
    .description('Write a model with an adapter merged into its weights')
    .argument('<model>', 'Model folder or GGUF file')
    .argument('<adapter>', 'PEFT adapter folder')
    .requiredOption('-o, --out <dir>', 'Folder for the merged model')
    .addOption(
      new Option('--dtype <name>', 'Storage type of the weights. Default: that of the model, bf16 if it is quantized').choices([
        'f32',
        'f16',
        'bf16',
      ]),
    )
    .option('--overwrite', 'Replace out if it exists')
    .action(async (path: string, adapter: string) => {
      const { out, dtype, overwrite } = command.opts<{ out: string } & MergeOptions>();
      await abortOnSignal(context, async (signal) => {
        const api = await context.api();
        await using model = await api.loadModel({ path, adapter, signal });
        const result = await model.merge(out, { overwrite: overwrite === true, ...(dtype !== undefined && { dtype }) });
        const from = result.dequantizedFrom ? `, from ${result.dequantizedFrom}, which cannot hold the change` : '';
        context.stderr.write(`Merged ${result.layers.length} layers; weights are ${result.dtype}${from}.\n`);
        context.stdout.write(`${result.out}\n`);
      });
    });
};
