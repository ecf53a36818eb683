import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './native/loader.js';

/** Version of this package, as in its package.json. */
export const packageVersion: string = (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version;
