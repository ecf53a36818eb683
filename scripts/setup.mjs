#!/usr/bin/env node
// Brings a checkout to the state in which tests and commands run: dependencies, the addon, the compiled TypeScript. Does only what
// is missing or out of date, so that it costs nothing when run again.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative, files, isNativeCurrent, modified, root, run } from './build-native.mjs';

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new Error(`Node 20.19 or newer is needed, this is ${process.versions.node}`);
}

/** Whether node_modules holds the versions of package-lock.json. */
function isInstalled() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const read = (path) => JSON.parse(readFileSync(path, 'utf8')).packages;
  const have = read(installed);
  return Object.entries(read(join(root, 'package-lock.json'))).every(
    ([path, wanted]) => path === '' || wanted.optional || have[path]?.version === wanted.version,
  );
}

/** Whether dist/ holds exactly what lib/ compiles to. */
function isTypeScriptCurrent() {
  const outputOf = (path) => path.replace(/^lib/, 'dist').replace(/\.ts$/, '.js');
  const inputs = files('lib').filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'));
  const outputs = new Set(files('dist').filter((path) => path.endsWith('.js')));
  return (
    outputs.size === inputs.length && inputs.every((path) => outputs.has(outputOf(path)) && modified(path) <= modified(outputOf(path)))
  );
}

function step(what, isDone, act) {
  if (isDone()) return;
  console.error(`setup: ${what}`);
  if (act() !== 0) throw new Error(`setup: ${what} failed`);
}

/** Throws with one line when a step fails; the step has printed why. */
export function setup() {
  requireNode();
  step('installing dependencies (npm ci)', isInstalled, () => run('npm', ['ci', '--no-audit', '--no-fund']));
  // NODE_FINETUNE_PREBUILD names an addon built elsewhere; the loader takes that one.
  step('building the addon', () => Boolean(process.env.NODE_FINETUNE_PREBUILD) || isNativeCurrent(), buildNative);
  step('compiling TypeScript', isTypeScriptCurrent, () => {
    rmSync(join(root, 'dist'), { recursive: true, force: true });
    return run('tsc', ['-p', 'tsconfig.build.json']);
  });
}

/** setup(), or an exit with status 1 and one line. */
export function setupOrExit() {
  try {
    setup();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setupOrExit();
