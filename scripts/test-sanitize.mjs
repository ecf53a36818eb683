#!/usr/bin/env node
// The C++ tests under AddressSanitizer + UndefinedBehaviorSanitizer and under ThreadSanitizer, then every op through an addon built
// with the former. Needs CMake and gcc's or clang's sanitizer runtimes (Linux).
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, run } from './build-native.mjs';
import { ctest } from './ctest.mjs';
import { setupOrExit } from './setup.mjs';
import { printTotal, vitest } from './test.mjs';

const sanitizers = 'address,undefined';

function runtime(name) {
  return spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
}

function ops() {
  const out = join(root, '.cache', 'sanitized');
  const built = run('cmake-js', ['build', '--out', join(out, 'build'), '--parallel', '2', `--CDNFT_SANITIZE=${sanitizers}`]);
  if (built !== 0) return { passed: 0, failed: 1, skipped: 0 };
  return vitest(['test/ops', 'test/native'], {
    NODE_FINETUNE_PREBUILD: out,
    LD_PRELOAD: `${runtime('libasan.so')} ${runtime('libstdc++.so')}`,
    // Node keeps memory until it exits.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  });
}

setupOrExit();
printTotal([ctest('test-asan', [`-DNFT_SANITIZE=${sanitizers}`]), ctest('test-tsan', ['-DNFT_SANITIZE=thread']), ops()]);
