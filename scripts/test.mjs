#!/usr/bin/env node
// `npm test`: sets a checkout up, runs the TypeScript tests (vitest) and the C++ tests (ctest, where CMake is installed), and ends
// with one line over both. With arguments, only vitest runs, with them.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasCmake, root, run } from './build-native.mjs';
import { ctest } from './ctest.mjs';
import { setupOrExit } from './setup.mjs';

/** Counts of one vitest run; a file that fails to load, or a run that dies, is one failure. */
export function vitest(args, env = {}) {
  const report = join(root, '.cache', 'vitest.json');
  rmSync(report, { force: true });
  mkdirSync(join(root, '.cache'), { recursive: true });
  const status = run('vitest', ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...args], {
    env: { ...process.env, ...env },
  });
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const broken = results.testResults.filter((f) => f.status === 'failed' && f.assertionResults.every((t) => t.status !== 'failed'));
  const failed = results.numFailedTests + broken.length;
  return {
    passed: results.numPassedTests,
    failed: status !== 0 && failed === 0 ? 1 : failed,
    skipped: results.numPendingTests + results.numTodoTests,
  };
}

function nativeTests() {
  if (hasCmake()) return ctest('native-test', []);
  console.error('C++ tests are skipped: CMake 3.19 or newer is not installed.');
  return { passed: 0, failed: 0, skipped: 1 };
}

/** Prints the sum as the last line and sets the exit status. */
export function printTotal(counts) {
  const sum = (key) => counts.reduce((total, c) => total + c[key], 0);
  const skipped = sum('skipped');
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  process.exitCode = sum('failed') === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  setupOrExit();
  const args = process.argv.slice(2);
  printTotal(args.length > 0 ? [vitest(args)] : [vitest([]), nativeTests()]);
}
