import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '..', '..');

export interface Manifest {
  name: string;
  version: string;
  gypfile: boolean;
  binary: { napi_versions: number[] };
  files: string[];
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  exports: Record<string, string | { types: string; default: string }>;
  bin: Record<string, string>;
}

export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

/** Full path of a program, or undefined. */
export function which(program: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path));
}

/** Runs a program to its end and returns its stdout; a status other than 0 is an error that shows the output. */
export function output(program: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20, ...options });
  if (result.status !== 0) {
    throw new Error(`${program} ${args.join(' ')}: status ${result.status}\n${result.error ?? ''}${result.stdout}${result.stderr}`);
  }
  return result.stdout;
}

/** Paths of all files below a folder. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

/** The addon that the tests load, as lib/native/loader.ts finds it. */
export const addonFolder = join(process.env.NODE_FINETUNE_PREBUILD ?? root, 'build', 'Release');
