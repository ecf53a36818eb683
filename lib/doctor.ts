import { createRequire } from 'node:module';
import { freemem, totalmem } from 'node:os';
import { type DeviceStatus, devices, threads } from './core/device.js';
import { addon, native, packageRoot } from './native/loader.js';
import { packageVersion } from './version.js';

/** What is installed and what runs here. */
export interface DoctorReport {
  version: string;
  node: string;
  /** N-API version of this Node. */
  napi: string;
  /** e.g. linux-x64 */
  platform: string;
  /** e.g. glibc 2.39; absent outside Linux */
  libc?: string;
  /** File of the native addon. */
  addon: string;
  /** Kernels in use, e.g. avx2. */
  instructionSet: string;
  threads: number;
  totalMemoryBytes: number;
  freeMemoryBytes: number;
  devices: DeviceStatus[];
}

/**
 * What is installed, which kernels run here, and why a device is not available.
 * @throws ERR_NATIVE_LOAD where the addon cannot be loaded
 */
export function doctor(): DoctorReport {
  addon();
  const libc = libcOf();
  return {
    version: packageVersion,
    node: process.versions.node,
    napi: process.versions.napi ?? 'none',
    platform: `${process.platform}-${process.arch}`,
    ...(libc !== undefined && { libc }),
    addon: addonPath(),
    instructionSet: native((a) => a.instructionSet()),
    threads: threads(),
    totalMemoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    devices: devices(),
  };
}

function addonPath(): string {
  const { path } = createRequire(import.meta.url)('node-gyp-build') as { path(root: string): string };
  return path(packageRoot);
}

function libcOf(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined ? 'musl' : `glibc ${header.glibcVersionRuntime}`;
}
