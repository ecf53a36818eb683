import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/native/loader.js';

export interface RegisteredOp {
  name: string;
  ref: boolean;
  cpu: boolean;
}

/** The lines of native/ops/ops.def. */
export function registeredOps(): RegisteredOp[] {
  const text = readFileSync(join(packageRoot, 'native', 'ops', 'ops.def'), 'utf8');
  return [...text.matchAll(/^NFT_OP\((\w+), *\w+, *([01]), *([01]), *[01]\)/gm)].map(([, name, ref, cpu]) => ({
    name: name as string,
    ref: ref === '1',
    cpu: cpu === '1',
  }));
}
