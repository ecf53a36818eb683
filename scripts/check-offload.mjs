#!/usr/bin/env node
// Full-parameter steps of TinyLlama-1.1B's shape (random weights, bf16, LOMO, blocks recomputed), each row in a process of its own:
// in memory, with trained weights and block inputs in scratch files, and the same two under a limit on private memory (ulimit -d) of
// half the weights, where the first must fail with a typed error. Needs about 5 GB of disk, Linux, dist/ and the built addon.
//   node scripts/check-offload.mjs [--steps 2] [--length 256] [--folder DIR] [--cgroup DIR]
// --cgroup: a folder of the memory controller, version 1, in which a group may be made (root): the last two rows once more in a group
// whose memory, that of Node and the page cache included, is half the weights; there the one in memory must be killed.
// Prints a JSON line a row: planned and measured bytes, private and scratch apart, seconds, losses; in a group the most that it held.
// Exits 1 if a row takes more than 3.0 GB of private memory, measured bytes differ from the plan, losses differ between rows, or a
// limit does not separate them.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeRandomWeights } from './random-weights.mjs';

const script = fileURLToPath(import.meta.url);
const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '2' },
    length: { type: 'string', default: '256' },
    folder: { type: 'string', default: tmpdir() },
    cgroup: { type: 'string' },
    row: { type: 'string' },
  },
});

const tinyLlama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: 22,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 64,
  vocab_size: 32000,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
};

/** In a process of its own: one row, as JSON on stdout. */
async function measureRow(json) {
  const { resolvePlanConfig } = await import('../dist/config/resolve.js');
  const { measureTraining } = await import('../dist/trainer/measure.js');
  const { settings, steps } = JSON.parse(json);
  const { plan, ...measured } = measureTraining(resolvePlanConfig(settings), steps);
  console.log(JSON.stringify({ bytes: plan.bytes, ...measured }));
}

function runRow(settings, limitKib) {
  const row = JSON.stringify({ settings, steps: Number(options.steps) });
  const command = [process.execPath, '--max-old-space-size=256', script, '--row', row];
  const [file, ...args] = limitKib ? ['sh', '-c', `ulimit -d ${limitKib} && exec "$@"`, 'sh', ...command] : command;
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' });
  return status === 0 ? JSON.parse(stdout) : { error: /ERR_\w+/.exec(stderr)?.[0] ?? stderr };
}

/** A row in a group that holds at most `limit` bytes, pages of the system's cache among them. */
function runInGroup(settings, limit) {
  const group = join(options.cgroup, `node-finetune-${process.pid}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, 'memory.limit_in_bytes'), String(limit));
    const row = JSON.stringify({ settings, steps: Number(options.steps) });
    const command = [process.execPath, '--max-old-space-size=256', script, '--row', row];
    const enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
    const { status, signal, stdout, stderr } = spawnSync('sh', ['-c', enter, group, ...command], { encoding: 'utf8' });
    const most = Number(readFileSync(join(group, 'memory.max_usage_in_bytes'), 'utf8'));
    return { ...(status === 0 ? JSON.parse(stdout) : { error: signal ?? stderr }), groupLimit: limit, groupMost: most };
  } finally {
    rmdirSync(group);
  }
}

async function main() {
  const folder = mkdtempSync(join(options.folder, 'node-finetune-offload-'));
  try {
    const model = join(folder, 'model');
    mkdirSync(model);
    writeFileSync(join(model, 'config.json'), JSON.stringify(tinyLlama));
    await writeRandomWeights(join(model, 'model.safetensors'), tinyLlama, { seed: 1, standardDeviation: 0.02, dtype: 'bf16' });
    const common = {
      model,
      method: { type: 'full' },
      optimizer: { type: 'lomo' },
      dtype: 'bf16',
      checkpointing: 'block',
      batchSize: 1,
      maxLength: Number(options.length),
    };
    const offloaded = { ...common, offload: { weights: true, activations: true, dir: folder } };
    const print = (row, result) => console.log(JSON.stringify({ row, ...result }));
    const inMemory = runRow(common);
    print('in memory', inMemory);
    const limitKib = Math.floor(inMemory.bytes.weights / 2 / 1024);
    const rows = { 'in memory': inMemory };
    for (const [row, settings, limit] of [
      ['scratch files', offloaded],
      [`scratch files, private memory limited to ${limitKib} KiB`, offloaded, limitKib],
    ]) {
      rows[row] = runRow(settings, limit);
      print(row, rows[row]);
    }
    const refused = runRow(common, limitKib);
    print(`in memory, private memory limited to ${limitKib} KiB`, refused);
    let killed = true;
    if (options.cgroup) {
      const limit = Math.floor(inMemory.bytes.weights / 2);
      const row = `scratch files, all memory limited to ${limit} bytes`;
      rows[row] = runInGroup(offloaded, limit);
      print(row, rows[row]);
      const inGroup = runInGroup(common, limit);
      print(`in memory, all memory limited to ${limit} bytes`, inGroup);
      killed = inGroup.error === 'SIGKILL' && rows[row].groupMost <= limit;
    }
    const agrees = (r) =>
      r.error === undefined &&
      r.measuredBytes === r.bytes.total &&
      r.offloadedBytes === r.bytes.offloaded &&
      r.allocationsAfterFirstStep === 0 &&
      r.measuredBytes <= 3.0e9 &&
      JSON.stringify(r.losses) === JSON.stringify(inMemory.losses);
    process.exitCode = Object.values(rows).every(agrees) && killed && refused.error === 'ERR_OUT_OF_MEMORY' ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await (options.row ? measureRow(options.row) : main());
