#!/usr/bin/env node
// Builds the addon for development: CMake where it is installed, node-gyp (binding.gyp) otherwise.
import { spawnSync } from 'node:child_process';

const hasCmake = spawnSync('cmake', ['--version'], { stdio: 'ignore' }).status === 0;
const [command, ...args] =
  hasCmake && !process.argv.includes('--gyp')
    ? ['cmake-js', 'build', '--parallel', '2', ...process.argv.slice(2)]
    : ['node-gyp', 'rebuild', '-j', '2'];
const result = spawnSync('npx', ['--no-install', command, ...args], { stdio: 'inherit', shell: process.platform === 'win32' });
process.exit(result.status ?? 1);
