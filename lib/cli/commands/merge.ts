import type { RegisterCommand } from '../commands.js';
import { abortOnSignal } from '../signals.js';

export const registerMerge: RegisterCommand = (program, context) => {
  const command = program
    .command('merge')
    .description('Write a model with an adapter merged into its weights')
    .argument('<model>', 'Model folder or GGUF file')
    .argument('<adapter>', 'PEFT adapter folder')
    .requiredOption('-o, --out <dir>', 'Folder for the merged model')
    .option('--dtype <name>', 'Storage type of the merged weights (f32 | f16 | bf16). Default: that of the model')
    .option('--overwrite', 'Replace out if it exists')
    .action(async (path: string, adapter: string) => {
      const { out, dtype, overwrite } = command.opts<{ out: string; dtype?: string; overwrite?: boolean }>();
      await abortOnSignal(context, async (signal) => {
        const api = await context.api();
        await using model = await api.loadModel({ path, adapter, signal });
        await model.merge(out, { overwrite: overwrite === true, ...(dtype !== undefined && { dtype }) });
        context.stdout.write(`${out}\n`);
      });
    });
};
