import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FinetuneError } from '../native/errors.js';
import { fileError, wrapSystemError } from './file-error.js';

/** Writes to a file that is being made; see writeFileAtomic. */
export interface FileSink {
  write(bytes: Uint8Array): void;
}

/**
 * Makes or replaces a file as a whole: `fill` writes to a temporary name in the same folder, which is flushed to the disk and
 * renamed at the end. Whatever happens before leaves the old file, or none, and no temporary one.
 * @throws ERR_FILE with the path and the reason: disk full, read-only, permission
 */
export function writeFileAtomic(path: string, fill: string | Uint8Array | ((sink: FileSink) => void)): void {
  const temporary = temporaryName(path);
  let file: number | undefined;
  try {
    file = openSync(temporary, 'wx', 0o666);
    const descriptor = file;
    const sink = { write: (bytes: Uint8Array): void => writeFully(descriptor, bytes) };
    if (typeof fill === 'function') fill(sink);
    else sink.write(typeof fill === 'string' ? Buffer.from(fill, 'utf8') : fill);
    fsyncSync(file);
    closeSync(file);
    file = undefined;
    renameSync(temporary, path);
  } catch (cause) {
    if (file !== undefined) closeSync(file);
    rmSync(temporary, { force: true });
    throw wrapSystemError(path, 'write it', cause);
  }
  syncFolder(dirname(path));
}

export interface OutputFolderOptions {
  /** Replace the files of an existing folder that is not empty; its other files stay. Default false: refuse. */
  overwrite?: boolean | undefined;
  /** Files of an existing folder that the new contents make wrong, such as shards of another count. */
  isStale?: ((file: string) => boolean) | undefined;
}

/**
 * Makes a folder as a whole: `fill` writes into a temporary sibling, which then takes the final name in one rename. Over an
 * existing folder (`overwrite`) the finished files move in one by one.
 * @throws ERR_FILE when the folder exists and is not empty, or cannot be written
 */
export function writeFolderAtomic(folder: string, options: OutputFolderOptions, fill: (temporary: string) => void): void {
  const target = resolve(folder);
  assertOutputFolder(folder, options.overwrite);
  const temporary = temporaryName(target);
  try {
    mkdirSync(dirname(target), { recursive: true });
    mkdirSync(temporary);
    fill(temporary);
    syncFolder(temporary);
    if (isOccupied(target)) moveInto(temporary, target, options.isStale);
    else {
      if (existsSync(target)) rmdirSync(target);
      renameSync(temporary, target);
    }
  } catch (cause) {
    rmSync(temporary, { recursive: true, force: true });
    throw wrapSystemError(folder, 'write this folder', cause);
  }
  syncFolder(dirname(target));
}

/** Refuses an output folder that would lose something; for checks before a long run. @throws ERR_FILE */
export function assertOutputFolder(folder: string, overwrite = false): void {
  let status: Stats | undefined;
  try {
    status = statSync(folder, { throwIfNoEntry: false });
  } catch (cause) {
    throw fileError(folder, 'write this folder', cause);
  }
  if (status === undefined) return;
  if (!status.isDirectory())
    throw new FinetuneError('ERR_FILE', `${folder}: is a file, an output folder was expected. Choose another name.`, { path: folder });
  if (!overwrite && isOccupied(folder))
    throw new FinetuneError(
      'ERR_FILE',
      `${folder}: the output folder exists and is not empty. Choose another name, or allow overwriting.`,
      { path: folder },
    );
}

function isOccupied(folder: string): boolean {
  try {
    return existsSync(folder) && readdirSync(folder).length > 0;
  } catch (cause) {
    throw fileError(folder, 'list it', cause);
  }
}

// Weight files move last: a reader that comes in between finds the old weights whole or none, never a mix under one index.
function moveInto(source: string, target: string, isStale?: (file: string) => boolean): void {
  const made = readdirSync(source);
  for (const file of readdirSync(target)) if (isStale?.(file) && !made.includes(file)) rmSync(join(target, file), { force: true });
  const weightsLast = (file: string): number => (file.endsWith('.safetensors') ? 1 : file.endsWith('.index.json') ? 2 : 0);
  for (const file of made.sort((a, b) => weightsLast(a) - weightsLast(b))) {
    rmSync(join(target, file), { recursive: statSync(join(source, file)).isDirectory(), force: true });
    renameSync(join(source, file), join(target, file));
  }
  rmdirSync(source);
  syncFolder(target);
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
}

function writeFully(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at);
}

// A rename is durable once its folder is flushed. Not every system can open a folder for that; the data itself is flushed already.
function syncFolder(folder: string): void {
  let file: number | undefined;
  try {
    file = openSync(folder, 'r');
    fsyncSync(file);
  } catch {
    return;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
