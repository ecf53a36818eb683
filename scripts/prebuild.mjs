#!/usr/bin/env node
// Writes prebuilds/<platform>-<arch>/node-finetune.<libc>.node, the addon that the npm package ships, stripped.
import { mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from './build-native.mjs';

const prebuildify = createRequire(import.meta.url)('prebuildify');
const work = join(root, '.cache', 'prebuild');
mkdirSync(work, { recursive: true });
rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
const options = {
  name: 'node-finetune',
  cwd: work,
  out: root,
  napi: true,
  strip: true,
  tagLibc: true,
  nodeGyp: join(root, 'scripts', 'node-gyp-shim.mjs'),
};
prebuildify(options, (error) => {
  if (!error) return;
  console.error(error.message);
  process.exitCode = 1;
});
