#!/usr/bin/env node
// Stands in for node-gyp when prebuildify asks for a build: brings the ordinary build up to date and puts its addon, and the shared
// libraries beside it, where prebuildify looks. prebuildify moves and strips what it finds, so it gets a copy.
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildNative, isNativeCurrent, root } from './build-native.mjs';

const from = join(process.env.NODE_FINETUNE_PREBUILD ?? root, 'build', 'Release');
const to = join(process.cwd(), 'build', 'Release');
const status = process.env.NODE_FINETUNE_PREBUILD || isNativeCurrent() ? 0 : buildNative();
if (status === 0) {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (/\.(node|so|dylib|dll)$/.test(name)) copyFileSync(join(from, name), join(to, name));
  }
}
process.exitCode = status;
