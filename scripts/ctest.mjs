// Builds and runs the C++ tests of native/test with CMake.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './build-native.mjs';

/** Builds in .cache/<directory> with extra CMake arguments and runs; a build that fails is one failure. */
export function ctest(directory, args) {
  const build = join(root, '.cache', directory);
  const report = join(build, 'junit.xml');
  mkdirSync(build, { recursive: true });
  rmSync(report, { force: true });
  const built =
    run('cmake', ['-S', root, '-B', build, '-DNFT_TESTS=ON', ...args, '-Wno-dev'], { stdio: ['ignore', 'ignore', 'inherit'] }) === 0 &&
    run('cmake', ['--build', build, '--target', 'nft_tests', '--parallel', '2']) === 0;
  if (!built) return { passed: 0, failed: 1, skipped: 0 };
  const status = run('ctest', ['--test-dir', build, '--output-on-failure', '--output-junit', report]);
  const suite = readFileSync(report, 'utf8').match(/<testsuite[^>]*>/)?.[0] ?? '';
  const count = (name) => Number(new RegExp(`${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count('failures');
  const skipped = count('skipped') + count('disabled');
  return { passed: count('tests') - failed - skipped, failed: status !== 0 && failed === 0 ? 1 : failed, skipped };
}
