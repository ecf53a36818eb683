import { Option } from 'commander';
import type { MergeOptions } from '../../merge.js';
import type { RegisterCommand } from '../commands.js';
import { abortOnSignal } from '../signals.js';

type Flags = { out: string; quantize?: 'nf4' | 'int8'; doubleQuantization: boolean } & MergeOptions;

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
    .addOption(new Option('--quantize <name>', 'Quantize the model on load, as it was trained').choices(['nf4', 'int8']))
    .option('--no-double-quantization', 'Without double quantization of nf4, as it was trained')
    .addOption(
      new Option(
        '--base <name>',
        'Add the adapter to the weights it was trained on, or to those of the file. Default: dequantized',
      ).choices(['dequantized', 'original']),
    )
    .option('--overwrite', 'Replace out if it exists')
    .action(async (path: string, adapter: string) => {
      const { out, dtype, overwrite, base, quantize, doubleQuantization } = command.opts<Flags>();
      await abortOnSignal(context, async (signal) => {
        const api = await context.api();
        await using model = await api.loadModel({ path, adapter, signal, ...(quantize && { quantize, doubleQuantization }) });
        const result = await model.merge(out, { overwrite: overwrite === true, ...(dtype && { dtype }), ...(base && { base }) });
        const from = result.dequantizedFrom ? `, from ${result.dequantizedFrom}, which cannot hold the change` : '';
        context.stderr.write(`Merged ${result.layers.length} layers; weights are ${result.dtype}${from}.\n`);
        if (result.difference) {
          const { klDivergence, maxLogitDifference, tokens } = result.difference;
          context.stderr.write(
            `Against the trained model, on ${tokens} tokens it wrote: KL ${klDivergence.toExponential(2)} nats a token, ` +
              `logits differ by at most ${maxLogitDifference.toPrecision(3)}.\n`,
          );
        }
        context.stdout.write(`${result.out}\n`);
      });
    });
};
