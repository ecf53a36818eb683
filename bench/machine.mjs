// What a measurement was taken on.
import { spawnSync } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';
import { devices, threads } from '../dist/core/device.js';
import { root } from '../scripts/build-native.mjs';

function commit() {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';
  const hash = git('rev-parse', '--short', 'HEAD');
  return hash === '' ? 'unknown' : `${hash}${git('status', '--porcelain', '--', 'lib', 'native') === '' ? '' : ' with changes'}`;
}

/** Processor, cores, memory, load, Node, kernels and commit. A load above the threads means that the numbers are worth little. */
export function machine() {
  return {
    date: new Date().toISOString(),
    processor: cpus()[0]?.model ?? process.arch,
    cores: cpus().length,
    threads: threads(),
    memoryBytes: totalmem(),
    load: Number((loadavg()[0] ?? 0).toFixed(2)),
    node: process.versions.node,
    kernels: /kernels for ([^,]+)/.exec(devices()[0]?.reason ?? '')?.[1] ?? 'unknown',
    commit: commit(),
  };
}
