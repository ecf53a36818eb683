import type { Command } from 'commander';
import { registerChat } from './commands/chat.js';
import { registerDemo } from './commands/demo.js';
import { registerDoctor } from './commands/doctor.js';
import { registerEval } from './commands/eval.js';
import { registerGenerate } from './commands/generate.js';
import { registerInspect } from './commands/inspect.js';
import { registerMerge } from './commands/merge.js';
import { registerPlan } from './commands/plan.js';
import { registerSchema } from './commands/schema.js';
import { registerTrain } from './commands/train.js';
import type { CommandContext } from './context.js';

/** Adds a command to the program. Its action tells its exit code if that is not 0. */
export type RegisterCommand = (program: Command, context: CommandContext, setExitCode: (code: number) => void) => void;

/** Every command, in the order of --help. */
export const commands: RegisterCommand[] = [
  registerTrain,
  registerPlan,
  registerInspect,
  registerGenerate,
  registerChat,
  registerEval,
  registerMerge,
  registerDoctor,
  registerDemo,
  registerSchema,
];
