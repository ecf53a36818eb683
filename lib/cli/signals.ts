import type { CommandContext } from './context.js';

/** Runs a task that the first SIGINT or SIGTERM aborts; the second ends the process at once. */
export async function abortOnSignal<T>(context: CommandContext, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const unsubscribe = context.onSignal((received) => {
    if (controller.signal.aborted) context.exitNow(received === 'SIGTERM' ? 143 : 130);
    controller.abort();
  });
  try {
    return await task(controller.signal);
  } finally {
    unsubscribe();
  }
}
