import { type MemoryStatistics, native } from '../native/loader.js';

/** What a heap segment holds; the index is the native category (native/core/segments.h). */
export const memoryCategories = ['weights', 'gradients', 'optimizer', 'arena', 'other'] as const;
export type MemoryCategory = (typeof memoryCategories)[number];

/** A block of memory that tensors point into: heap, a read-only file map, a scratch file, or nothing at all in a plan. */
export interface Segment {
  /** Native id; `drySegment` for memory that is only planned. */
  readonly id: number;
  readonly bytes: number;
}

/** Id of memory that a plan counts but never allocates. */
export const drySegment = -2;

/** Allocates zero-filled memory. @throws ERR_OUT_OF_MEMORY */
export function allocate(bytes: number, category: MemoryCategory): Segment {
  return { id: native((a) => a.allocate(bytes, memoryCategories.indexOf(category))), bytes };
}

/** Maps a file read-only: its pages are read at first use and belong to the system's cache. @throws ERR_FILE */
export function mapFile(path: string): Segment {
  const { segment, bytes } = native((a) => a.map(path));
  return { id: segment, bytes };
}

/**
 * Zero-filled writable memory kept by a new file in the folder of `path`, which has no name when this returns: its pages belong to the system's cache,
 * and its space is given back however the process ends. linkable: for linkScratch, which takes a file descriptor. @throws ERR_FILE
 */
export function mapScratch(path: string, bytes: number, linkable = false): Segment {
  return { id: native((a) => a.mapScratch(path, bytes, linkable)), bytes };
}

/** Whether linkScratch can name the file of a segment: made for it, on a file system that has files without a name. */
export function isLinkable(segment: Segment): boolean {
  return segment.id !== drySegment && native((a) => a.isLinkable(segment.id));
}

/** Flushes a scratch file and gives it a name in the file system where it lies; it stays mapped. @throws ERR_FILE */
export function linkScratch(segment: Segment, path: string): void {
  native((a) => a.linkScratch(segment.id, path));
}

/** Gives memory back. Tensors in it throw ERR_DISPOSED from now on. */
export function release(segment: Segment): void {
  if (segment.id !== drySegment) native((a) => a.release(segment.id));
}

/** Bytes by category, now and at peak. */
export function memoryStatistics(): MemoryStatistics {
  return native((a) => a.memory());
}

/** Peaks count from now on. */
export function resetMemoryPeak(): void {
  native((a) => a.resetPeak());
}
