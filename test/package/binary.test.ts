import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { addonFolder, filesBelow, output, which } from './repository.js';

const addons = existsSync(addonFolder) ? readdirSync(addonFolder).filter((name) => name.endsWith('.node')) : [];
const addon = join(addonFolder, addons[0] ?? '');

function dynamicSymbols(): string[] {
  return output('objdump', ['-T', addon]).split('\n');
}

describe('build/Release', () => {
  it('holds exactly one addon: the loader takes the first it finds', () => {
    expect(addons).toHaveLength(1);
  });
});

describe.skipIf(process.platform !== 'linux' || !which('objdump') || !which('readelf'))('the addon on Linux', () => {
  it('runs with glibc 2.34 and needs no libstdc++ of the system', () => {
    const versions = dynamicSymbols().flatMap((line) => [...line.matchAll(/GLIBC_(\d+)\.(\d+)/g)]);
    const numbers = versions.map(([, major, minor]) => Number(major) * 100 + Number(minor));
    expect(numbers.length).toBeGreaterThan(0);
    expect(Math.max(...numbers)).toBeLessThanOrEqual(234);
    expect(dynamicSymbols().filter((line) => /GLIBCXX|CXXABI/.test(line))).toEqual([]);
  });

  it('needs only the C library and the compiler runtime', () => {
    const needed = [...output('readelf', ['-d', addon]).matchAll(/NEEDED.*\[(.*)\]/g)].map((m) => m[1]);
    expect(needed.filter((name) => !/^(libc|libm|libgcc_s|libpthread|libdl|ld-linux-.*)\.so/.test(name ?? ''))).toEqual([]);
  });

  it('exports only what Node asks for, so that two copies in one process share nothing', () => {
    const exported = dynamicSymbols()
      .filter((line) => / (\.text|\.data|\.bss|\.rodata)/.test(line))
      .map((line) => line.trim().split(/\s+/).at(-1));
    expect(exported.sort()).toEqual(['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
  });
});

// Node closes an addon when the last Worker that loaded it ends; the threads of our pool would then run unmapped code.
it.skipIf(process.platform !== 'linux')('the addon stays in memory after the Worker that loaded it', () => {
  const program = `
    const { Worker } = require('node:worker_threads');
    const worker = new Worker('require(' + JSON.stringify(process.argv[1]) + ').instructionSet()', { eval: true });
    worker.on('exit', () => setTimeout(() => {
      const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
      console.log(maps.includes(process.argv[1]) ? 'mapped' : 'unmapped');
    }, 50));`;
  expect(output(process.execPath, ['-e', program, addon]).trim()).toBe('mapped');
});

// An inline function compiled for AVX-512 and merged with its baseline twin by the linker would crash older processors.
describe.skipIf(process.arch !== 'x64' || !which('nm'))('kernels of one instruction set', () => {
  it('share no code with the other sets', () => {
    const objects = [addonFolder, join(addonFolder, '..', 'CMakeFiles')]
      .filter(existsSync)
      .flatMap(filesBelow)
      .filter((path) => /nft_cpu_avx/.test(path) && path.endsWith('.o'));
    expect(objects.length).toBeGreaterThan(0);
    const symbols = output('nm', ['-A', '-C', '--defined-only', ...objects]).split('\n');
    const shared = symbols.filter((line) => / [VvWwu] /.test(line) && !/nft::cpu::avx|DW\.ref\./.test(line));
    expect(shared).toEqual([]);
  });
});
