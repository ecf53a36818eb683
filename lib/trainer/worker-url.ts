import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../native/loader.js';

/** The worker's compiled file; worker threads cannot load TypeScript. */
export function workerUrl(): URL {
  return pathToFileURL(join(packageRoot, 'dist', 'trainer', 'worker.js'));
}
