#!/usr/bin/env node
// Builds the addon into build/Release: through CMake where it is installed, else (or with --gyp) through node-gyp, which needs
// only a C++17 compiler, make and Python 3. --if-needed does nothing when no source is newer than the addon; other arguments go
// to cmake-js.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Runs a command of node_modules/.bin, or of PATH, in the repository root; returns its exit status. */
export function run(command, args, options = {}) {
  const windows = process.platform === 'win32';
  const local = join(root, 'node_modules', '.bin', command + (windows ? '.cmd' : ''));
  const result = spawnSync(existsSync(local) ? local : command, args, { cwd: root, stdio: 'inherit', shell: windows, ...options });
  if (result.error) console.error(`${command}: ${result.error.message}`);
  return result.status ?? 1;
}

/** Whether CMake can read CMakeLists.txt: 3.19 or newer. */
export function hasCmake() {
  const version = /version (\d+)\.(\d+)/.exec(spawnSync('cmake', ['--version'], { encoding: 'utf8' }).stdout ?? '');
  return version !== null && Number(version[1]) * 1000 + Number(version[2]) >= 3019;
}

/** Files below the given paths of the repository. */
export function files(...paths) {
  return paths.flatMap((path) => {
    const full = join(root, path);
    if (!existsSync(full)) return [];
    if (!statSync(full).isDirectory()) return [path];
    return readdirSync(full).flatMap((name) => files(join(path, name)));
  });
}

export const modified = (path) => statSync(join(root, path)).mtimeMs;

const output = join('build', 'Release', 'node_finetune.node');

/** Whether build/Release holds an addon as new as its sources. */
export function isNativeCurrent() {
  if (!existsSync(join(root, output))) return false;
  const inputs = files('native', 'binding.gyp', 'CMakeLists.txt').filter((path) => !path.startsWith(join('native', 'test')));
  return inputs.every((path) => modified(path) <= modified(output));
}

/** Environment of node-gyp that points it at the headers that came with this Node, where they did: nothing to download. */
export function gypEnvironment() {
  const prefix = join(dirname(process.execPath), '..');
  const bundled = existsSync(join(prefix, 'include', 'node', 'common.gypi')) ? { npm_config_nodedir: prefix } : {};
  return { ...bundled, ...process.env };
}

function withGyp() {
  // A CMake build directory would confuse make.
  if (existsSync(join(root, 'build', 'CMakeCache.txt'))) rmSync(join(root, 'build'), { recursive: true });
  return run('node-gyp', ['configure', 'build', '-j', '2'], { env: gypEnvironment() });
}

function withCmake(args) {
  if (existsSync(join(root, 'build', 'config.gypi'))) rmSync(join(root, 'build'), { recursive: true });
  return run('cmake-js', ['build', '--parallel', '2', ...args]);
}

/** Builds the addon; returns the exit status. */
export function buildNative(args = []) {
  const status = args.includes('--gyp') || !hasCmake() ? withGyp() : withCmake(args);
  // A source that no object depends on would otherwise stay newer than the addon.
  if (status === 0 && existsSync(join(root, output))) utimesSync(join(root, output), new Date(), new Date());
  return status;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  if (!args.includes('--if-needed') || !isNativeCurrent()) {
    process.exitCode = buildNative(args.filter((a) => a !== '--if-needed'));
  }
}
