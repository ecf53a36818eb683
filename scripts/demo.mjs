#!/usr/bin/env node
// `npm run demo`: sets a checkout up, then runs the demo command with the arguments given.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './build-native.mjs';
import { setupOrExit } from './setup.mjs';

setupOrExit();
const main = join(root, 'dist', 'cli', 'main.js');
process.exitCode = spawnSync(process.execPath, [main, 'demo', ...process.argv.slice(2)], { stdio: 'inherit' }).status ?? 1;
