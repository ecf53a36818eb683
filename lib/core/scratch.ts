import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FinetuneError } from '../native/errors.js';
import { type MemoryCategory, mapScratch, type Segment } from './memory.js';

const leftOver = /^\.node-finetune-\d+-[0-9a-f]{8}\.scratch$/;
const advice = 'free some space, or choose another folder with offload.dir';

/** A place in a folder for scratch files instead of private memory; `what` is for messages. */
export interface ScratchPlace {
  folder: ScratchFolder;
  what: string;
}

/** Where tensors that live long are put: private memory of a category, a scratch file, or nowhere, in a plan. */
export type Placement = MemoryCategory | ScratchPlace | 'dry';

/**
 * A folder for scratch files: memory of tensors that is not private to the process. A file has no name while it is used, so nothing is
 * left of it however the process ends; where the file system cannot make one without a name, it loses it at once, and one whose process
 * was killed in between is removed by the next that uses the folder.
 */
export class ScratchFolder {
  readonly path: string;
  /** Outermost folder that was made for it; removed again if nothing else was put there. */
  private readonly made: string | undefined;

  /** Makes the folder where it is missing. @throws ERR_FILE when it cannot be made or written */
  constructor(path: string) {
    this.path = path;
    try {
      this.made = existsSync(path) ? undefined : mkdirSync(path, { recursive: true });
      for (const name of readdirSync(path)) if (leftOver.test(name)) rmSync(join(path, name), { force: true });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const message = `${path}: cannot be used for offloading: ${reason}. Choose another folder with offload.dir`;
      throw new FinetuneError('ERR_FILE', message, { path }, cause);
    }
  }

  /**
   * Zero-filled memory in a file of its own, whose space is reserved here. linkable: it may get a name in the end, see linkScratch.
   * @throws ERR_FILE when the disk has not that much left
   */
  map(bytes: number, what: string, linkable = false): Segment {
    const { path } = this;
    const free = freeBytes(path);
    const details = { path, requested: bytes, free };
    if (free < bytes)
      throw new FinetuneError('ERR_FILE', `${path}: the disk is full: ${what} need ${bytes} bytes, ${free} are free; ${advice}`, details);
    const name = `.node-finetune-${process.pid}-${randomBytes(4).toString('hex')}.scratch`;
    try {
      return mapScratch(join(path, name), bytes, linkable);
    } catch (cause) {
      if (!(cause instanceof FinetuneError)) throw cause;
      throw new FinetuneError(cause.code, `${cause.message} (for ${what}); ${advice}`, details, cause);
    }
  }

  /** Removes the folders that were made for it and are empty. */
  dispose(): void {
    if (this.made === undefined) return;
    try {
      for (let folder = this.path; folder.length >= this.made.length; folder = dirname(folder)) rmdirSync(folder);
    } catch {
      // Something was put there meanwhile: the result of the run.
    }
  }
}

/** Bytes that the disk of a folder has left. */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
