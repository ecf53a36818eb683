import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesBelow, output, root, which } from './repository.js';

interface CompileCommand {
  command: string;
  file: string;
}

const lists = (JSON.parse(readFileSync(join(root, 'native', 'sources.gypi'), 'utf8')) as { variables: Record<string, string[]> }).variables;

/** One line a compilation: the file and the flags that decide what its code does. */
function compilations(path: string, base: string): string[] {
  const commands = JSON.parse(readFileSync(path, 'utf8')) as CompileCommand[];
  return commands
    .map(({ command, file }) => {
      const flags = command.replaceAll('"', '').split(/\s+/);
      const decisive = flags.filter((f) => /^-(f|m(?!64)|O|std=|DNFT_|DNAPI_|DNODE_A|DNDEBUG|DBUILDING_NODE)/.test(f));
      // Static libraries of the CMake build carry a definition that cmake-js sets for all; only the addon's sources see it in gyp.
      const kept = file.includes('bindings') ? decisive : decisive.filter((f) => f !== '-DBUILDING_NODE_EXTENSION');
      return `${relative(base, realpathSync(file))} ${[...new Set(kept)].sort().join(' ')}`;
    })
    .sort();
}

describe('native/sources.gypi', () => {
  it('lists every source of native/ exactly once', () => {
    const listed = ['nft_core_sources', 'nft_cpu_sources', 'nft_addon_sources'].flatMap((name) => lists[name] ?? []);
    const present = filesBelow(join(root, 'native'))
      .map((path) => relative(root, path))
      .filter((path) => path.endsWith('.cc') && !path.startsWith(join('native', 'test')));
    expect([...listed].sort()).toEqual(present.sort());
  });
});

describe.skipIf(!which('cmake') || !which('python3'))('binding.gyp and CMakeLists.txt', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'nft-sources-'));
    for (const name of ['binding.gyp', 'package.json', 'CMakeLists.txt']) cpSync(join(root, name), join(folder, name));
    for (const name of ['native', 'node_modules']) symlinkSync(join(root, name), join(folder, name));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('compile the same files with the same flags', async () => {
    const scripts = (await import(join(root, 'scripts', 'build-native.mjs'))) as { gypEnvironment(): NodeJS.ProcessEnv };
    const program = (name: string) => join(root, 'node_modules', '.bin', name);
    output(program('node-gyp'), ['configure', '--', '-f', 'compile_commands_json'], { cwd: folder, env: scripts.gypEnvironment() });
    output(program('cmake-js'), ['configure', '--out', join(folder, 'cmake')], { cwd: folder });
    const gyp = compilations(join(folder, 'build', 'Release', 'compile_commands.json'), root);
    const cmake = compilations(join(folder, 'cmake', 'compile_commands.json'), root);
    expect(gyp.length).toBeGreaterThan(0);
    expect(gyp).toEqual(cmake);
    if (process.arch === 'x64') {
      for (const isa of ['baseline', 'avx2', 'avx512', 'avx512bf16']) {
        expect(cmake.filter((line) => new RegExp(`-DNFT_ISA=${isa}(?!\\w)`).test(line)).length, isa).toBe(lists.nft_cpu_sources?.length);
      }
    }
  });
});
