import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FinetuneError, translateNativeError } from './errors.js';

/** One argument of an op, as the addon describes it. */
export interface FieldSchema {
  name: string;
  kind: 'tensor' | 'integer' | 'real';
  access?: 'in' | 'out' | 'inout';
  optional?: boolean;
  default?: number;
}

export interface OpSchema {
  name: string;
  workspace: boolean;
  fields: FieldSchema[];
}

export interface DTypeSchema {
  name: string;
  blockElements: number;
  blockBytes: number;
}

export type MemoryByCategory = Record<'weights' | 'gradients' | 'optimizer' | 'arena' | 'other' | 'mapped' | 'offloaded', number>;

export interface MemoryStatistics {
  /** Bytes held now, by category. `mapped` counts file maps, `offloaded` scratch files, which the system can drop and read again. */
  current: MemoryByCategory;
  /** Largest value of each category since the process began or resetPeak(). */
  peak: MemoryByCategory;
  /** Bytes of all heap segments together, now and at most. */
  heapCurrent: number;
  heapPeak: number;
  /** Heap segments ever allocated; constant during a step. */
  allocations: number;
}

/** The raw addon. Only lib/native and lib/core touch it. */
export interface Addon {
  /** Arguments of the next call; slots 0..2 are the workspace (segment, offset, bytes). */
  arguments: Float64Array;
  describe(): { ops: OpSchema[]; dtypes: DTypeSchema[]; updates: string[] };
  call(device: number, op: number, dry: boolean): void;
  /** Calls one after the other: device, op, threads, number of slots and the slots of each (CommandList). */
  replay(commands: Float64Array): void;
  workspaceBytes(device: number, op: number): number;
  allocate(bytes: number, category: number): number;
  map(path: string): { segment: number; bytes: number };
  mapScratch(path: string, bytes: number, linkable: boolean): number;
  isLinkable(segment: number): boolean;
  linkScratch(segment: number, path: string): void;
  release(segment: number): void;
  read(segment: number, offset: number, into: Uint8Array): void;
  write(segment: number, offset: number, from: Uint8Array): void;
  memory(): MemoryStatistics;
  resetPeak(): void;
  failAllocationAfter(count: number): void;
  threads(count?: number): number;
  instructionSet(): string;
}

let loaded: Addon | undefined;

/** Directory of the installed package: where prebuilds/ and build/ lie. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/**
 * Loads the native addon at first use: prebuilds/<platform>-<arch>/ of the package, or build/Release of a checkout.
 * @throws ERR_NATIVE_LOAD with the platform, the paths tried and what to do
 */
export function addon(): Addon {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  try {
    const load = require('node-gyp-build') as (root: string) => Addon;
    loaded = load(packageRoot);
  } catch (cause) {
    throw loadError(cause);
  }
  return loaded;
}

function loadError(cause: unknown): FinetuneError {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  const glibc = report?.header?.glibcVersionRuntime;
  const platform = `${process.platform}-${process.arch}`;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const tried = [join(packageRoot, 'build', 'Release'), join(packageRoot, 'prebuilds', platform)];
  return new FinetuneError(
    'ERR_NATIVE_LOAD',
    [
      `The native addon could not be loaded on ${platform} (Node ${process.versions.node}, N-API ${process.versions.napi}, ` +
        `${glibc ? `glibc ${glibc}` : 'libc unknown'}): ${reason}`,
      `Looked in: ${tried.join(', ')}`,
      'Reinstall the package, or build it from source with a C++17 compiler and Python 3: npx node-gyp rebuild in the package folder.',
    ].join('\n'),
    { platform, node: process.versions.node, napi: process.versions.napi, glibc, tried },
    cause,
  );
}

/** Calls f and rethrows errors of the addon as FinetuneErrors. */
export function native<T>(f: (a: Addon) => T): T {
  try {
    return f(addon());
  } catch (error) {
    throw translateNativeError(error);
  }
}
