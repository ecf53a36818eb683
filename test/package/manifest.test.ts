import { readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { publint } from 'publint';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { filesBelow, manifest, output, root } from './repository.js';

interface PackedFile {
  path: string;
  size: number;
}
interface PackReport {
  size: number;
  unpackedSize: number;
  files: PackedFile[];
}

const allowed = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|schema\.json|binding\.gyp|CMakeLists\.txt)$/,
  /^dist\/[\w./-]+\.(js|d\.ts)$/,
  /^native\/(core|formats|ops|updates|kernels|bindings)\/[\w/]+\.(h|cc|def)$/,
  /^native\/(sources\.gypi|exports\.map)$/,
  /^prebuilds\/[a-z0-9]+-[a-z0-9]+\/(node-finetune\.(glibc|musl)\.node|[\w.]+\.(so|dylib|dll))$/,
  /^assets\/(demo-data\.jsonl|demo-model\/[\w.-]+)$/,
];

const packed = (JSON.parse(output('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])) as PackReport[])[0] as PackReport;
const { packages: lock } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, { hasInstallScript?: boolean; dependencies?: object; optionalDependencies?: object }>;
};
const dist = filesBelow(join(root, 'dist')).filter((path) => path.endsWith('.js'));

/** Text of every node of a file that `match` accepts, functions left out unless `deep`. */
function find(path: string, deep: boolean, match: (node: ts.Node) => boolean): string[] {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (match(node)) found.push(`${relative(root, path)}: ${node.getText(source).slice(0, 80)}`);
    if (deep || !ts.isFunctionLike(node)) ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe('package.json', () => {
  it('runs nothing at install', () => {
    expect(manifest.gypfile).toBe(false);
    const lifecycle = ['preinstall', 'install', 'postinstall', 'prepare', 'preprepare', 'postprepare'];
    expect(Object.keys(manifest.scripts).filter((name) => lifecycle.includes(name))).toEqual([]);
  });

  it('names the N-API version, without which cmake-js downloads headers', () => {
    expect(manifest.binary.napi_versions).toEqual([9]);
  });

  it('depends only on packages without scripts and without dependencies of their own', () => {
    for (const name of Object.keys(manifest.dependencies)) {
      const entry = lock[`node_modules/${name}`];
      expect(entry, name).toBeDefined();
      expect(entry?.hasInstallScript, name).toBeUndefined();
      expect(entry?.dependencies, name).toBeUndefined();
    }
  });

  // npm install leaves out what a registry mirror does not have; npm ci then refuses the lock file.
  it('is locked for every platform', () => {
    const optional = Object.values(lock).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    expect(optional.filter((name) => !lock[`node_modules/${name}`])).toEqual([]);
  });

  it('passes publint', async () => {
    const { messages } = await publint({ pkgDir: root, level: 'warning', strict: true });
    expect(messages).toEqual([]);
  });
});

describe('the packed files', () => {
  const paths = packed.files.map((f) => f.path);

  it('are all meant to be there', () => {
    expect(paths.filter((path) => !allowed.some((pattern) => pattern.test(path)))).toEqual([]);
  });

  it('include what the package needs to run and to be built from source', () => {
    const { variables } = JSON.parse(readFileSync(join(root, 'native', 'sources.gypi'), 'utf8')) as { variables: Record<string, string[]> };
    const sources = Object.entries(variables).flatMap(([name, list]) => (name.endsWith('_sources') ? list : []));
    const entries = [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/cli/main.js',
      'schema.json',
      'binding.gyp',
      'LICENSE',
      'README.md',
      'assets/demo-data.jsonl',
    ];
    for (const path of [...entries, ...sources, 'native/sources.gypi', 'native/exports.map']) expect(paths).toContain(path);
  });

  it('stay small', () => {
    expect(packed.size).toBeLessThan(6 << 20);
  });
});

describe('dist', () => {
  it('has no top-level await, so that require() works', () => {
    const awaits = dist.flatMap((path) =>
      find(path, false, (node) => ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)),
    );
    expect(awaits).toEqual([]);
    const keys = output(process.execPath, ['-p', `Object.keys(require(${JSON.stringify(join(root, 'dist', 'index.js'))})).join()`]);
    expect(keys.trim().split(',')).toContain('loadModel');
  });

  it('neither exits nor prints outside the command line', () => {
    const library = dist.filter((path) => !relative(root, path).startsWith(join('dist', 'cli') + sep));
    const calls = library.flatMap((path) =>
      find(path, true, (node) => ts.isPropertyAccessExpression(node) && /^(process\.(exit|abort)|console\.\w+)$/.test(node.getText())),
    );
    expect(calls).toEqual([]);
  });
});
