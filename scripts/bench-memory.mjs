#!/usr/bin/env node
// `npm run bench:memory`: memory of every way of training, planned beside measured, each in a process of its own, and of the same in
// PyTorch where NODE_FINETUNE_PYTHON names a Python with torch, transformers and peft.
//   npm run bench:memory -- [--model PATH] [--data FILE] [--batch 4] [--length 256] [--dtype f32] [--steps 3] [--only REGEXP]
//       [--rows FILE] [--format table|csv|json|markdown|svg] [--write docs/memory.md] [--section measured] [--folder DIR]
// measured: highest private native memory of the run, `= planned` where every byte agrees, of scratch files (in --folder) too. resident, PyTorch: peak resident memory of the
// whole process less what it had before the model was opened. tok/s: of the median step, the first left out. loss: of 16 held-out rows of
// --data (for the model of the package, its own data), before and after the steps, each method at its own learning rate.
// --only: rows whose "name, checkpointing" matches. --rows: JSON Lines that measured rows are added to, and that rows measured with the same
// settings, steps and data are taken from, so that a long table can be made in parts. --write: Markdown, speeds left out, between
// <!-- SECTION:begin --> and <!-- SECTION:end --> of a file.
// Exits with 1 where a measured byte differs from the plan.
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { root } from './build-native.mjs';
import { replaceBetweenMarkers } from './markers.mjs';
import { setupOrExit } from './setup.mjs';

const script = fileURLToPath(import.meta.url);
const formatNames = ['table', 'csv', 'json', 'markdown', 'svg'];

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      data: { type: 'string' },
      batch: { type: 'string', default: '4' },
      length: { type: 'string', default: '256' },
      dtype: { type: 'string', default: 'f32' },
      steps: { type: 'string', default: '3' },
      folder: { type: 'string', default: tmpdir() },
      only: { type: 'string', default: '' },
      format: { type: 'string', default: 'table' },
      rows: { type: 'string' },
      write: { type: 'string' },
      section: { type: 'string', default: 'measured' },
      row: { type: 'string' },
    },
  });
  if (!formatNames.includes(values.format)) throw new Error(`--format: ${values.format} is none of ${formatNames.join(', ')}`);
  const numbers = Object.fromEntries(['batch', 'length', 'steps'].map((name) => [name, Number(values[name])]));
  for (const [name, value] of Object.entries(numbers))
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1`);
  return { ...values, ...numbers, only: new RegExp(values.only) };
}

/** In a process of its own: one row, as JSON on stdout. */
async function measureRow(json) {
  const { resolvePlanConfig } = await import('../dist/config/resolve.js');
  const { loadMeasuredData, measureTraining } = await import('../dist/trainer/measure.js');
  const { residentBytes } = await import('../bench/quiet.mjs');
  const { settings, steps, data } = JSON.parse(json);
  const config = resolvePlanConfig(settings);
  const rows = data && (await loadMeasuredData(config, data));
  const before = residentBytes('VmRSS');
  const measurement = measureTraining(config, steps, rows);
  const peak = residentBytes('VmHWM');
  console.log(JSON.stringify({ measurement, resident: peak === undefined ? undefined : peak - before }));
}

/** Measures a row, unless it was before. */
function measure(row, { steps, data, rows, folder }) {
  const { offload } = row.config;
  const settings = offload ? { ...row.config, offload: { ...offload, dir: folder } } : row.config;
  const argument = JSON.stringify({ settings, steps, data });
  const lines = rows && existsSync(rows) ? readFileSync(rows, 'utf8').split('\n').filter(Boolean) : [];
  const known = lines.map((line) => JSON.parse(line)).find((line) => line.argument === argument);
  if (known) return known;
  const measured = measureAlone(row, argument);
  if (rows) appendFileSync(rows, `${JSON.stringify({ name: row.name, argument, ...measured })}\n`);
  return measured;
}

function measureAlone(row, argument) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--row', argument], { encoding: 'utf8', maxBuffer: 64 << 20 });
  if (status !== 0) throw new Error(`${row.name}, checkpointing ${row.checkpointing}: ${stderr}`);
  return JSON.parse(stdout);
}

const isExact = (row, { plan, offloadedBytes, allocationsAfterFirstStep }) =>
  row.measured.total === plan.bytes.total && offloadedBytes === plan.bytes.offloaded && allocationsAfterFirstStep === 0;

async function main() {
  const options = readOptions();
  if (options.row) return measureRow(options.row);
  setupOrExit();
  const { planCompare } = await import('../dist/index.js');
  const { measuredRow } = await import('../dist/compare/measured.js');
  const { comparisonCaption } = await import('../dist/compare/caption.js');
  const { formatComparison } = await import('../dist/compare/formats.js');
  const { demoData, demoModel } = await import('../dist/demo.js');
  const { machine } = await import('../bench/machine.mjs');
  const { MemoryPeers } = await import('../bench/memory-peers.mjs');

  const { batch, length, dtype, steps, only } = options;
  const model = options.model ?? (relative(process.cwd(), demoModel) || '.');
  const data = options.data ?? (options.model ? undefined : demoData);
  const where = machine();
  const peers = statSync(model).isDirectory() ? new MemoryPeers({ model, batch, length, dtype, steps, threads: where.threads }) : undefined;
  const compared = planCompare({ model, batchSize: batch, maxLength: length, dtype });
  let exact = true;
  const rows = compared
    .filter((row) => only.test(`${row.name}, ${row.checkpointing}`))
    .map((row) => {
      const peer = peers?.measure(row);
      const withPeer = { ...row, ...(peer && { peer }) };
      if (!row.plan || row.computedBytes) return withPeer;
      const { measurement, resident } = measure(row, { steps, data, rows: options.rows, folder: options.folder });
      const measured = measuredRow(withPeer, measurement, resident);
      exact &&= isExact(measured, measurement);
      return measured;
    });

  const machineText = `${where.processor}, ${where.threads} threads, ${where.kernels} kernels, commit ${where.commit}.`;
  const caption = `${comparisonCaption(rows, relative(root, model) || model)} ${machineText}`;
  if (options.write) {
    // A few steps of a small model say little of speed.
    const still = rows.map(({ measured, peer, ...row }) => ({
      ...row,
      ...(measured && { measured: { ...measured, tokensPerSecond: undefined } }),
      ...(peer && { peer: { ...peer, tokensPerSecond: undefined } }),
    }));
    const table = formatComparison(still, 'markdown', caption).trimEnd();
    writeFileSync(options.write, replaceBetweenMarkers(readFileSync(options.write, 'utf8'), options.section, table, options.write));
  }
  process.stdout.write(formatComparison(rows, options.format, caption));
  process.exitCode = exact ? 0 : 1;
}

await main();
