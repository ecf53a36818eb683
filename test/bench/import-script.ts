import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../lib/native/loader.js';

/** A script of bench/: plain JavaScript, so the test says what it expects of it. */
export async function importScript<Exports>(name: string): Promise<Exports> {
  return (await import(pathToFileURL(join(packageRoot, 'bench', name)).href)) as Exports;
}
