#!/usr/bin/env node
// `npm run format`: formats TypeScript (biome) and C++ (clang-format 14: on PATH, named by CLANG_FORMAT, or installed by pip beside
// NODE_FINETUNE_PYTHON). --check changes nothing and fails on a difference; --native leaves TypeScript out.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { files, run } from './build-native.mjs';

const check = process.argv.includes('--check');
const python = process.env.NODE_FINETUNE_PYTHON;
const candidates = [process.env.CLANG_FORMAT, python && join(dirname(python), 'clang-format'), 'clang-format-14', 'clang-format'];
// Other versions break lines differently.
const clangFormat = candidates.find((c) => c && / 14\./.test(spawnSync(c, ['--version'], { encoding: 'utf8' }).stdout ?? ''));

function native() {
  if (!clangFormat) {
    console.error('C++ is not formatted: clang-format 14 was not found (pip install clang-format==14.0.6).');
    return 0;
  }
  const sources = files('native').filter((path) => /\.(cc|h)$/.test(path));
  return run(clangFormat, [...(check ? ['--dry-run', '--Werror'] : ['-i']), ...sources]);
}

const typescript = process.argv.includes('--native') ? 0 : run('biome', ['check', ...(check ? [] : ['--write']), '.']);
process.exitCode = native() || typescript;
