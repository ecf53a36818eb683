import type { RegisterCommand } from '../commands.js';
import { abortOnSignal } from '../signals.js';

export const registerDemo: RegisterCommand = (program, context) => {
  program
    .command('demo')
    .description('Train the small model of the package: text before and after, and the memory table; needs no download')
    .action(async () => {
      const { runDemo } = await context.demo();
      await abortOnSignal(context, (signal) => runDemo({ write: (text) => context.stdout.write(text), signal }));
    });
};
