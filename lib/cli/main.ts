#!/usr/bin/env node
import type { CommandContext } from './context.js';
import { runCli } from './program.js';

const signals = ['SIGINT', 'SIGTERM'] as const;

const context: CommandContext = {
  args: process.argv.slice(2),
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  environment: process.env,
  api: () => import('../index.js'),
  demo: () => import('../demo.js'),
  onSignal: (handler) => {
    for (const signal of signals) process.on(signal, handler);
    return () => {
      for (const signal of signals) process.off(signal, handler);
    };
  },
  exitNow: (code) => process.exit(code),
};

// A reader that has seen enough, such as `head`, is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

void runCli(context).then((code) => {
  process.exitCode = code;
});
