#!/usr/bin/env node
// `npm run bench:train`: LoRA of rank 16 in f32 on a model of SmolLM2-135M's shape with random weights, batches of 4 x 256 random
// tokens, every token learned, 2 threads; beside PyTorch + transformers + peft (bench/peers/torch_train.py) in the same run where
// NODE_FINETUNE_PYTHON names a Python that has them. Each trial is a process of its own, the two take turns. Appends one JSON line to
// bench/results/train.jsonl: machine, commit, and for each the median, 20th and 80th percentile of tokens/s over all measured steps.
//   npm run bench:train -- [--trials 3] [--steps 5] [--warmup 1] [--layers 30] [--batch 4] [--length 256] [--rank 16] [--threads 2]
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { root } from '../scripts/build-native.mjs';
import { writeRandomWeights } from '../scripts/random-weights.mjs';
import { setupOrExit } from '../scripts/setup.mjs';

const script = fileURLToPath(import.meta.url);
const defaults = { trials: 3, steps: 5, warmup: 1, layers: 30, batch: 4, length: 256, rank: 16, threads: 2 };

function readOptions() {
  const names = Object.keys(defaults);
  const { values } = parseArgs({
    options: { trial: { type: 'string' }, ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])) },
  });
  const numbers = Object.fromEntries(names.map((name) => [name, Number(values[name] ?? defaults[name])]));
  for (const name of names) {
    const least = name === 'warmup' ? 0 : 1;
    if (!Number.isInteger(numbers[name]) || numbers[name] < least) throw new Error(`--${name} must be a whole number from ${least}`);
  }
  return { ...numbers, trial: values.trial };
}

const smolLm2 = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  head_dim: 64,
  hidden_act: 'silu',
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 0,
  eos_token_id: 0,
  torch_dtype: 'float32',
};

/** Folder of the model; made at first use and kept. config.json comes last, so that a folder with one is complete. */
async function randomModel(layers) {
  const folder = join(root, '.cache', 'bench', `smollm2-135m-shape-${layers}`);
  if (!existsSync(join(folder, 'config.json'))) {
    mkdirSync(folder, { recursive: true });
    const config = { ...smolLm2, num_hidden_layers: layers };
    await writeRandomWeights(join(folder, 'model.safetensors'), config, { seed: 0, standardDeviation: 0.02 });
    writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  }
  return folder;
}

/** In a process of its own: one trial of this package, as JSON on stdout in the form of torch_train.py. */
async function ownTrial({ trial: model, steps, warmup, batch, length, rank, threads }) {
  const { resolvePlanConfig } = await import('../dist/config/resolve.js');
  const device = await import('../dist/core/device.js');
  const { measureTraining } = await import('../dist/trainer/measure.js');
  device.threads(threads);
  const config = resolvePlanConfig({
    model,
    method: { type: 'lora', rank, alpha: 2 * rank },
    optimizer: { type: 'adamw', weightDecay: 0 },
    learningRate: 1e-4,
    maxGradNorm: 0,
    batchSize: batch,
    maxLength: length,
  });
  const { plan, seconds, losses, measuredBytes } = measureTraining(config, warmup + steps);
  console.log(
    JSON.stringify({
      trainableParameters: plan.trainableParameters,
      tokensPerSecond: seconds.slice(warmup).map((s) => (batch * length) / s),
      losses,
      plannedBytes: plan.bytes.total,
      measuredBytes,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
    }),
  );
}

function runTrial(name, program, args) {
  const { error, status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (status !== 0) throw new Error(`${name}: ${error?.message ?? `status ${status}\n${stderr}`}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

const quantile = (sorted, share) => {
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
};

function summary(name, trials) {
  const all = trials.flatMap((t) => t.tokensPerSecond).sort((a, b) => a - b);
  const [median, p20, p80] = [0.5, 0.2, 0.8].map((share) => Math.round(10 * quantile(all, share)) / 10);
  const { versions, trainableParameters, plannedBytes, measuredBytes, losses } = trials[0];
  const peakRssBytes = Math.max(...trials.map((t) => t.peakRssBytes));
  return { name, median, p20, p80, steps: all.length, trainableParameters, plannedBytes, measuredBytes, peakRssBytes, losses, versions };
}

async function main() {
  const options = readOptions();
  if (options.trial) return ownTrial(options);
  setupOrExit();
  const { trials, layers, trial: _, ...work } = options;
  const model = await randomModel(layers);
  const flags = Object.entries(work).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const peer = join(root, 'bench', 'peers', 'torch_train.py');
  const python = process.env.NODE_FINETUNE_PYTHON;
  const contestants = [
    { name: 'node-finetune', program: process.execPath, args: [script, '--trial', model, ...flags] },
    ...(python ? [{ name: 'transformers + peft', program: python, args: [peer, model, ...flags, '--alpha', String(2 * work.rank)] }] : []),
  ];
  const results = new Map(contestants.map(({ name }) => [name, []]));
  for (let trial = 0; trial < trials; trial++) {
    for (const { name, program, args } of contestants) results.get(name).push(runTrial(name, program, args));
  }
  const rows = contestants.map(({ name }) => summary(name, results.get(name)));
  for (const { name, median, p20, p80, peakRssBytes } of rows) {
    console.log(`${name}: ${median} tok/s (p20 ${p20}, p80 ${p80}), peak RSS ${(peakRssBytes / 2 ** 20).toFixed(0)} MiB`);
  }
  const ratio = rows[1] && Number((rows[0].median / rows[1].median).toFixed(3));
  console.log(ratio === undefined ? 'NODE_FINETUNE_PYTHON is not set: nothing to compare with' : `ratio ${ratio}`);
  const { machine } = await import('./machine.mjs');
  mkdirSync(join(root, 'bench', 'results'), { recursive: true });
  const line = { ...machine(), ...work, layers, trials, rows, ratio };
  appendFileSync(join(root, 'bench', 'results', 'train.jsonl'), `${JSON.stringify(line)}\n`);
}

await main();
