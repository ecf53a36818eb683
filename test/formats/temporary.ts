import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { FinetuneError } from '../../lib/native/errors.js';

/** A folder of this test file, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'node-finetune-formats-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a file and returns its path. */
export function fileIn(folder: string, name: string, contents: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

/** The FinetuneError that `f` throws; fails when it throws none or something else. */
export function errorOf(f: () => unknown): FinetuneError {
  let thrown: unknown;
  try {
    f();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(FinetuneError);
  return thrown as FinetuneError;
}

/** Expects a FinetuneError with this code that names the file and says this. */
export function expectRefused(f: () => unknown, code: string, path: string, says: RegExp): void {
  const error = errorOf(f);
  expect(error.code, error.message).toBe(code);
  expect(error.message).toContain(path);
  expect(error.message).toMatch(says);
}
