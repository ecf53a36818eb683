import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, parse, resolve } from 'node:path';
import ts from 'typescript';
import { afterAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const examples = readdirSync(join(root, 'examples')).filter((name) => /\.(ts|mjs)$/.test(name));

// Inside the package's folder `import 'node-finetune'` finds the package itself, dist/index.js.
const compiled = join(root, '.cache', 'examples');

describe('examples', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nft-examples-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('exist', () => expect(examples).not.toEqual([]));

  it.each(examples)('%s runs in an empty folder without arguments', { timeout: 300_000 }, (name) => {
    const source = readFileSync(join(root, 'examples', name), 'utf8');
    const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
    mkdirSync(compiled, { recursive: true });
    const program = join(compiled, `${parse(name).name}.mjs`);
    writeFileSync(program, name.endsWith('.ts') ? ts.transpileModule(source, { compilerOptions: options }).outputText : source);
    const result = spawnSync(process.execPath, [program], { cwd: folder, encoding: 'utf8' });
    expect(result.status, `${result.stdout}\n${result.stderr}`).toBe(0);
  });
});
