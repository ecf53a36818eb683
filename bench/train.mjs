#!/usr/bin/env node
// `npm run bench:train`: training steps on a model of SmolLM2-135M's shape with random weights and random tokens, every token learned,
// beside PyTorch + transformers + peft in the same run where NODE_FINETUNE_PYTHON names a Python that has them:
//   plain      as users run it (bench/peers/torch_train.py)
//   tcmalloc   with libtcmalloc_minimal.so.4 preloaded (Debian: libtcmalloc-minimal4); left out where it is not installed
//   compiled   torch.compile, and tcmalloc where it is installed; its cache is warmed by a step before the trials
// Every trial is a process of its own, the contestants take turns. Only steps during which other processes left the cores alone
// count (statistics.mjs); each trial runs until it has `steps` of them, at most three times as many. The machine's ceilings are measured
// in the same run (ceilings.mjs), and the time that they allow for the step (floor.mjs). Appends one JSON line a row to
// bench/results/train.jsonl.
//   npm run bench:train -- [--only lora-bf16,lora-f32,adamw-bf16,lomo-bf16,lora-bf16-checkpointing,lora-nf4,lora-int8,
//       lora-q4_1,completions-only]
//       [--shapes 4x256,1x512] [--peers plain,tcmalloc,compiled] [--trials 3] [--steps 5] [--warmup 1] [--layers 30] [--threads 2]
//   npm run bench:train -- --scaling [--only ...]   this package alone on 1 and on `threads` threads, no peers
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../scripts/build-native.mjs';
import { setupOrExit } from '../scripts/setup.mjs';
import { floorTokensPerSecond, stepFloor } from './floor.mjs';
import { Rival } from './rival.mjs';
import { randomModel, sharedGguf, smolLm2Config } from './smollm2-shape.mjs';
import { cleanSamples, significant, spread } from './statistics.mjs';
import { ownSettings, peerArguments, trainRows } from './train-rows.mjs';

const numbers = { trials: 3, steps: 5, warmup: 1, layers: 30, threads: 2 };
const peerNames = ['plain', 'tcmalloc', 'compiled'];

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      shapes: text('4x256,1x512'),
      peers: text(peerNames.join(',')),
      scaling: { type: 'boolean', default: false },
      ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, text(String(value))])),
    },
  });
  const options = Object.fromEntries(Object.keys(numbers).map((name) => [name, Number(values[name])]));
  for (const [name, value] of Object.entries(options))
    if (!Number.isInteger(value) || value < (name === 'warmup' ? 0 : 1)) throw new Error(`--${name} must be a whole number from 1`);
  const list = (name, known, otherwise) => {
    const chosen = values[name]?.split(',') ?? otherwise;
    const wrong = chosen.find((c) => !known.includes(c));
    if (wrong !== undefined) throw new Error(`--${name}: ${wrong} is none of ${known.join(', ')}`);
    return chosen;
  };
  const shapes = values.shapes.split(',').map((shape) => {
    const [, batch, length] = /^(\d+)x(\d+)$/.exec(shape) ?? [];
    if (!batch) throw new Error(`--shapes: ${shape} is not of the form 4x256`);
    return { batch: Number(batch), length: Number(length) };
  });
  const all = Object.keys(trainRows);
  const { scaling } = values;
  return { ...options, shapes, scaling, only: list('only', all, scaling ? ['lora-bf16'] : all), peers: list('peers', peerNames, []) };
}

function findTcmalloc() {
  const known = spawnSync('ldconfig', ['-p'], { encoding: 'utf8' }).stdout ?? '';
  return /libtcmalloc_minimal\.so\.4 .*=> (\S+)/.exec(known)?.[1];
}

/** Environments and flags of the peers that can run here. */
function availablePeers(wanted) {
  const python = process.env.NODE_FINETUNE_PYTHON;
  if (!python) {
    console.log('NODE_FINETUNE_PYTHON is not set: nothing to compare with');
    return [];
  }
  const library = findTcmalloc();
  if (!library) console.log('libtcmalloc_minimal.so.4 is not installed: no tcmalloc peer, and the compiled one without it');
  // Memory once taken is kept, as this package keeps its arena.
  const tcmalloc = library ? { LD_PRELOAD: library, TCMALLOC_RELEASE_RATE: '0' } : {};
  const cache = join(root, '.cache', 'bench', 'inductor');
  const peers = {
    plain: { env: {}, flags: [] },
    ...(library && { tcmalloc: { env: tcmalloc, flags: [] } }),
    compiled: { env: { ...tcmalloc, TORCHINDUCTOR_CACHE_DIR: cache }, flags: ['--compile'] },
  };
  return wanted.filter((name) => peers[name]).map((name) => ({ name, python, ...peers[name] }));
}

/** Runs a trial in a process of its own; a peer that cannot run is reported, not fatal. */
function runTrial({ program, args, env }) {
  const { error, status, signal, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) return { error: error?.message || stderr.trim().split('\n').at(-1) || `ended by ${signal ?? status}` };
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

function ownContestant(row, work, name = 'node-finetune') {
  const trial = { settings: ownSettings(row, work), steps: work.steps, warmup: work.warmup, labels: row.labels ?? 1 };
  return { name, program: process.execPath, args: [join(root, 'bench', 'own-trial.mjs'), JSON.stringify(trial)], env: {} };
}

function peerContestants(row, work, peers) {
  const script = join(root, 'bench', 'peers', 'torch_train.py');
  return peers.map(({ name, python, env, flags }) => {
    const args = (w) => [script, ...peerArguments(row, w), ...flags];
    const warm = flags.includes('--compile') ? { program: python, args: args({ ...work, steps: 1, warmup: 0 }), env } : undefined;
    return { name, program: python, args: args(work), env, warm };
  });
}

function summarize(name, trials, tokens) {
  const failed = trials.find((t) => t.error);
  if (failed) return { name, error: failed.error };
  const steps = trials.flatMap((t) => t.steps);
  const { kept, clean } = cleanSamples(steps);
  const rates = spread(kept.map(({ seconds }) => tokens / seconds));
  const { steps: _, peakRssBytes: __, ...first } = trials[0];
  return {
    name,
    tokensPerSecond: Object.fromEntries(Object.entries(rates).map(([key, rate]) => [key, significant(rate)])),
    cleanSteps: clean,
    steps: steps.length,
    peakRssBytes: Math.max(...trials.map((t) => t.peakRssBytes)),
    ...first,
  };
}

function runContestants(contestants, trials, tokens) {
  for (const { name, warm } of contestants) {
    const answer = warm && runTrial(warm);
    if (answer?.error) console.log(`  ${name}: ${answer.error}`);
  }
  const results = contestants.map(() => []);
  for (let trial = 0; trial < trials; trial++) contestants.forEach((contestant, i) => results[i].push(runTrial(contestant)));
  return contestants.map(({ name }, i) => summarize(name, results[i], tokens));
}

/** What the numbers of a row mean beside those of the peers and of the machine. */
function judge(own, peers, floorRate) {
  const ran = peers.filter((p) => !p.error);
  const plain = ran.find((p) => p.name === 'plain');
  const rate = (c) => c.tokensPerSecond.median;
  const ratio = (value, to) => (to === undefined ? undefined : significant(value / to, 3));
  const fastest = ran.length > 0 ? Math.max(...ran.map(rate)) : undefined;
  const least = (bytes) => (ran.length > 0 ? Math.min(...ran.map(bytes)) : undefined);
  // What torch and its libraries take before there is a model differs by several hundred MiB between builds of it.
  const lessImports = (c) => c.peakRssBytes - c.rssAfterImportBytes;
  return {
    toPlain: ratio(rate(own), plain && rate(plain)),
    toBest: ratio(rate(own), fastest),
    ofFloor: ratio(rate(own), floorRate),
    peakToLeanest: ratio(
      own.peakRssBytes,
      least((p) => p.peakRssBytes),
    ),
    peakLessImportsToLeanest: ratio(lessImports(own), least(lessImports)),
  };
}

function print(title, contestants, ratios) {
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  console.log(title);
  for (const c of contestants) {
    if (c.error) console.log(`  ${c.name.padEnd(15)} ${c.error}`);
    else {
      const { median, p20, p80 } = c.tokensPerSecond;
      const memory = c.rssAfterImportBytes === undefined ? '' : ` (${mib(c.rssAfterImportBytes)} after imports)`;
      const planned = c.plannedBytes === undefined ? '' : `, planned ${c.plannedBytes} and measured ${c.measuredBytes} bytes`;
      const clean = `${c.cleanSteps}/${c.steps} clean steps`;
      console.log(
        `  ${c.name.padEnd(15)} ${median} tok/s (p20 ${p20}, p80 ${p80}; ${clean}), peak ${mib(c.peakRssBytes)}${memory}${planned}`,
      );
    }
  }
  const shown = Object.entries(ratios).filter(([, value]) => value !== undefined);
  console.log(`  ${shown.map(([name, value]) => `${name} ${value}`).join(', ')}`);
}

function append(line) {
  mkdirSync(join(root, 'bench', 'results'), { recursive: true });
  appendFileSync(join(root, 'bench', 'results', 'train.jsonl'), `${JSON.stringify(line)}\n`);
}

async function measureMachine(threads) {
  const { ceilingsText, measureCeilings } = await import('./ceilings.mjs');
  const rival = await Rival.start();
  const ceilings = await measureCeilings(rival, threads, 2);
  rival?.stop();
  console.log(ceilingsText(ceilings));
  return ceilings;
}

function floorRate(row, work, ceilings) {
  const floor = stepFloor(smolLm2Config(work.layers), { ...row, ...work, method: row.floor });
  const rates = { flopsPerSecond: 1e9 * ceilings[row.dtype].gflops, bytesPerSecond: 1e9 * ceilings.copyGbs };
  return { ...floor, tokensPerSecond: significant(floorTokensPerSecond(floor, work.batch * work.length, rates)) };
}

async function main() {
  const options = readOptions();
  setupOrExit();
  const { only, shapes, scaling, trials, peers: wanted, ...shared } = options;
  const peers = scaling ? [] : availablePeers(wanted);
  const { machine } = await import('./machine.mjs');
  const ceilings = await measureMachine(shared.threads);
  for (const { batch, length } of shapes) {
    const medians = {};
    for (const name of only) {
      const row = trainRows[name];
      if (row.gguf && !existsSync(sharedGguf)) {
        console.log(`${name}: left out, there is no ${sharedGguf}`);
        continue;
      }
      const model = row.gguf ? sharedGguf : await randomModel(shared.layers, row.dtype);
      const work = { ...shared, batch, length, model };
      const tokens = batch * length;
      const floor = floorRate(row, work, ceilings);
      const title = `${name}, ${batch} x ${length}`;
      const line = {
        ...machine(),
        row: name,
        ...work,
        model: undefined,
        trials,
        dtype: row.dtype,
        settings: row.settings,
        ceilings,
        floor,
      };
      if (scaling) {
        const counts = [1, shared.threads];
        const contestants = runContestants(
          counts.map((threads) => ownContestant(row, { ...work, threads }, `${threads} threads`)),
          trials,
          tokens,
        );
        const [one, many] = contestants.map((c) => c.tokensPerSecond?.median);
        const ratios = { scaling: significant(many / one, 3) };
        print(title, contestants, ratios);
        append({ ...line, kind: 'scaling', contestants, ratios });
        continue;
      }
      const rivals = row.comparedWith ? [] : peerContestants(row, work, peers);
      const contestants = runContestants([ownContestant(row, work), ...rivals], trials, tokens);
      const [own, ...others] = contestants;
      if (own.error) throw new Error(`${title}: ${own.error}`);
      medians[name] = own.tokensPerSecond.median;
      const ratios = judge(own, others, floor.tokensPerSecond);
      const gain = medians[row.comparedWith] && significant(medians[name] / medians[row.comparedWith], 3);
      if (gain !== undefined) ratios[`to ${row.comparedWith}`] = gain;
      print(title, contestants, ratios);
      append({ ...line, kind: 'train', contestants, ratios });
    }
  }
}

await main();
