import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { errorCodes } from '../../lib/native/errors.js';

it('docs/errors.md lists every code with its exit code, and nothing else', () => {
  const page = readFileSync(resolve(import.meta.dirname, '..', '..', 'docs', 'errors.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `(ERR_\w+)` *\| +(\d+) \| (.+?) *\|$/gm)];
  expect(Object.fromEntries(rows.map(([, code, exit]) => [code, Number(exit)]))).toEqual(errorCodes);
  for (const [, code, , when] of rows) expect(when?.length, code).toBeGreaterThan(20);
});
