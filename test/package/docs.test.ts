import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { filesBelow, output, root } from './repository.js';

describe('docs/api', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nft-docs-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is what the sources say now (npm run docs)', { timeout: 180_000 }, () => {
    output(process.execPath, [join(root, 'node_modules', 'typedoc', 'bin', 'typedoc'), '--out', folder]);
    const pages = (top: string) => Object.fromEntries(filesBelow(top).map((path) => [relative(top, path), readFileSync(path, 'utf8')]));
    expect(pages(join(root, 'docs', 'api'))).toEqual(pages(folder));
  });
});
