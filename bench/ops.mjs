#!/usr/bin/env node
// `npm run bench:ops`: every `bench` case of test/ops/*.cases.ts on the cpu kernels: milliseconds (median, 20th and 80th percentile),
// GFLOP/s or GB/s, and the share of what the machine's ceilings, measured in the same run, allow (ceilings.mjs). Beside it the same
// work in PyTorch where NODE_FINETUNE_PYTHON names a Python that has it: the two take turns, case by case, on the same number of threads.
// Then what LoRA adds to the linear layers of a decoder block. Appends one JSON line a case and number of threads to bench/results/ops.jsonl.
//   npm run bench:ops -- [--only REGEX] [--threads 2,1] [--seconds 2]
// --only matches `op: name of the case`, `lora`. Small tensors stay in the caches between calls: their GB/s can exceed those of memory.
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createViteServer } from 'vitest/node';
import { root } from '../scripts/build-native.mjs';
import { setupOrExit } from '../scripts/setup.mjs';
import { productsOf, rivalRequest } from './op-costs.mjs';
import { Rival } from './rival.mjs';
import { significant } from './statistics.mjs';
import { here, inTurns } from './turns.mjs';

function readOptions() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      threads: { type: 'string', default: '2,1' },
      seconds: { type: 'string', default: '2' },
    },
  });
  return { only: new RegExp(values.only), threads: values.threads.split(',').map(Number), seconds: Number(values.seconds) };
}

/** The benchmark cases of the tests, which are TypeScript: loaded as vitest loads them. */
async function loadCases() {
  const server = await createViteServer({
    root,
    configFile: false,
    logLevel: 'error',
    server: { middlewareMode: true, watch: null, ws: false },
  });
  try {
    const { loadSuites } = await server.ssrLoadModule('/test/ops/suite.ts');
    return (await loadSuites()).flatMap(({ op, bench = [] }) => bench.map(({ name, args }) => ({ op, name, args })));
  } finally {
    await server.close();
  }
}

function rounded(times) {
  return Object.fromEntries(Object.entries(times).map(([key, value]) => [key, significant(value)]));
}

async function measureCase({ op, args }, rival, ceilings, seconds) {
  const { prepareCase } = await import('./op-calls.mjs');
  const ours = prepareCase(op, args);
  const request = rival && rivalRequest(op, args);
  const theirs = request && (await rival.prepare({ ...request, threads: ceilings.threads }));
  const [own, other] = await inTurns([here(ours.run), ...(theirs ? [theirs.contestant] : [])], seconds);
  ours.dispose();
  if (theirs) await rival.forget();
  const products = productsOf(op, args);
  const flopsMs = products ? products.flops / ceilings[products.dtype].gflops / 1e6 : 0;
  const bytesMs = ours.bytes / ceilings.copyGbs / 1e6;
  return {
    own: rounded(own),
    ...(flopsMs > bytesMs
      ? { gflops: significant(products.flops / own.median / 1e6) }
      : { gbs: significant(ours.bytes / own.median / 1e6) }),
    ofCeiling: significant(Math.max(flopsMs, bytesMs) / own.median, 3),
    ...(other && { rival: { engine: theirs.engine, ...rounded(other) }, toRival: significant(other.median / own.median, 3) }),
  };
}

function printCase(title, { own, gflops, gbs, ofCeiling, rival, toRival }) {
  const rate = gflops === undefined ? `${gbs} GB/s` : `${gflops} GFLOP/s`;
  const beside = rival ? `, ${toRival}x of ${rival.engine} (${rival.median} ms)` : '';
  console.log(
    `  ${title}\n    ${own.median} ms (p20 ${own.p20}, p80 ${own.p80}), ${rate}, ${(100 * ofCeiling).toFixed(0)}% of the ceiling${beside}`,
  );
}

function printLora(title, row) {
  const part = ({ frozenMs, loraMs, overhead }) => `${frozenMs} -> ${loraMs} ms (${(100 * overhead).toFixed(1)}% more)`;
  for (const [who, { forward, backward }] of Object.entries(row))
    console.log(`  ${title}, ${who}: forward ${part(forward)}, backward ${part(backward)}`);
}

async function main() {
  const { only, threads: counts, seconds } = readOptions();
  setupOrExit();
  const cases = (await loadCases()).filter(({ op, name }) => only.test(`${op}: ${name}`));
  const { threads } = await import('../dist/core/device.js');
  const { ceilingsText, measureCeilings } = await import('./ceilings.mjs');
  const { measureLoraLayer } = await import('./lora-layer.mjs');
  const { machine } = await import('./machine.mjs');
  const rival = await Rival.start();
  if (!rival) console.log('NODE_FINETUNE_PYTHON is not set: nothing to compare with');
  mkdirSync(join(root, 'bench', 'results'), { recursive: true });
  const append = (line) => appendFileSync(join(root, 'bench', 'results', 'ops.jsonl'), `${JSON.stringify(line)}\n`);
  for (const count of counts) {
    threads(count);
    const ceilings = await measureCeilings(rival, count, seconds);
    console.log(ceilingsText(ceilings));
    const shared = () => ({ ...machine(), versions: rival?.versions, ceilings });
    for (const benchCase of cases) {
      const result = await measureCase(benchCase, rival, ceilings, seconds);
      const { op, name } = benchCase;
      printCase(`${op}: ${name}`, result);
      append({ ...shared(), kind: 'op', op, name, ...result });
    }
    for (const dtype of only.test('lora') ? ['f32', 'bf16'] : []) {
      const work = { tokens: 1024, rank: 16, dtype, threads: count };
      const result = await measureLoraLayer(rival, { ...work, seconds });
      printLora(`lora r16 on the linear layers of a block, ${dtype}`, result);
      append({ ...shared(), kind: 'lora-layer', ...work, ...result });
    }
  }
  rival?.stop();
}

await main();
