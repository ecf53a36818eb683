import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = process.env.NODE_FINETUNE_SHARED ?? resolve(import.meta.dirname, '..', '..', 'shared');

/** Whether the folder of real models and data lies beside this checkout; tests that need it skip where it does not. */
export const hasShared = existsSync(join(root, 'models', 'stories260K', 'config.json'));

if (!hasShared) console.warn(`Tests on real models are skipped: ${root} has no models (set NODE_FINETUNE_SHARED).`);

/** Path inside the shared folder. */
export function sharedPath(...parts: string[]): string {
  return join(root, ...parts);
}
