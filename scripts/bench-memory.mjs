#!/usr/bin/env node
// `npm run bench:memory`: memory of every way of training, planned beside measured, each in a process of its own.
//   npm run bench:memory -- [--model PATH] [--batch 4] [--length 256] [--steps 3] [--markdown | --json] [--write README.md]
// measured: highest private native memory of the run, `= planned` where every byte agrees. resident: growth of the process's private
// resident memory (Linux), which also holds what Node itself needs meanwhile. tok/s: of the median step, the first left out; in text
// and JSON only, since a few steps say little. --write puts the table between the markers <!-- memory-table:begin --> and
// <!-- memory-table:end --> of a file. Exits with 1 where a measured byte differs from the plan.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { root } from './build-native.mjs';
import { setupOrExit } from './setup.mjs';

const script = fileURLToPath(import.meta.url);

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      batch: { type: 'string', default: '4' },
      length: { type: 'string', default: '256' },
      steps: { type: 'string', default: '3' },
      markdown: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      write: { type: 'string' },
      row: { type: 'string' },
    },
  });
  return values;
}

/** In a process of its own: one row, as JSON on stdout. */
async function measureRow(json) {
  const { resolvePlanConfig } = await import('../dist/config/resolve.js');
  const { measureTraining } = await import('../dist/trainer/measure.js');
  const { settings, steps } = JSON.parse(json);
  console.log(JSON.stringify(measureTraining(resolvePlanConfig(settings), steps)));
}

function measureAll(variants, shared, steps) {
  return variants.flatMap(({ name, settings }) =>
    ['none', 'block'].map((checkpointing) => {
      const row = JSON.stringify({ settings: { ...shared, ...settings, checkpointing }, steps });
      const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--row', row], { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${name}, checkpointing ${checkpointing}: ${stderr}`);
      return { name, checkpointing, measurement: JSON.parse(stdout) };
    }),
  );
}

function markdown(titles, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(titles), line(titles.map((_, i) => (i < 2 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

function writeBetweenMarkers(path, text) {
  const [begin, end] = ['<!-- memory-table:begin -->', '<!-- memory-table:end -->'];
  const old = readFileSync(path, 'utf8');
  const [from, to] = [old.indexOf(begin), old.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${path} has no ${begin} ... ${end}`);
  writeFileSync(path, `${old.slice(0, from + begin.length)}\n${text}\n${old.slice(to)}`);
}

async function main() {
  const options = readOptions();
  if (options.row) return measureRow(options.row);
  setupOrExit();
  const { memoryCells, memoryColumns, trainingVariants } = await import('../dist/memory-table.js');
  const { formatBytes } = await import('../dist/cli/format.js');
  const { formatTable } = await import('../dist/cli/table.js');
  const { demoModel } = await import('../dist/demo.js');

  const model = options.model ?? demoModel;
  const shared = { model, batchSize: Number(options.batch), maxLength: Number(options.length) };
  const rows = measureAll(trainingVariants, shared, Number(options.steps));
  const agrees = ({ measurement: m }) =>
    m.measuredBytes === m.plan.bytes.total && m.arenaBytes === m.plan.bytes.arena && m.allocationsAfterFirstStep === 0;

  const { machine } = await import('../bench/machine.mjs');
  const where = machine();
  const columns = [...memoryColumns, { title: 'resident', align: 'right' }, { title: 'tok/s', align: 'right' }];
  const cells = rows.map((row) => {
    const { residentBytes, tokensPerSecond } = row.measurement;
    return [...memoryCells(row), residentBytes === undefined ? '-' : formatBytes(residentBytes), String(Math.round(tokensPerSecond))];
  });
  const { bytes } = rows[0].measurement.plan;
  // Those of LoRA rows count the adapters too.
  const totalParameters = Math.min(...rows.map((row) => row.measurement.plan.totalParameters));
  const caption =
    `${relative(root, model) || model}, ${totalParameters.toLocaleString('en-US')} parameters, ${shared.batchSize} x ${shared.maxLength} tokens, ` +
    `activations f32. Frozen weights stay in the model file (${formatBytes(bytes.weightsMapped)}, mapped, not counted). ` +
    `${where.processor}, ${where.threads} threads, ${where.kernels} kernels, commit ${where.commit}.`;
  const withoutSpeed = (list) => list.slice(0, -1);
  const titles = withoutSpeed(columns).map((c) => c.title);
  const table = `${markdown(titles, cells.map(withoutSpeed))}\n\n${caption}`;
  if (options.write) writeBetweenMarkers(options.write, table);
  if (options.json) console.log(JSON.stringify({ machine: where, model: relative(root, model), rows }));
  else if (options.markdown) console.log(table);
  else console.log(`${formatTable(columns, cells)}\n${caption}`);
  process.exitCode = rows.every(agrees) ? 0 : 1;
}

await main();
