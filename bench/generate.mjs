#!/usr/bin/env node
// `npm run bench:generate`: tokens/s of decoding one text greedily, and the share of what copying memory allows (copy.mjs): the bytes
// of the weights and of the keys and values that a token reads, per second, over the bytes per second that a copy reads and writes. The copy is
// measured in the same run and takes turns with the models: SmolLM2-135M's shape in bf16 with random weights, and a GGUF in Q4_1 where
// --gguf or ../shared/models has one. Appends one JSON line to bench/results/generate.jsonl.
//   npm run bench:generate -- [--gguf FILE] [--layers 30] [--prompt 32] [--tokens 128] [--threads 2] [--seconds 8]
// --tokens: the longest a text gets before the next one starts. --seconds: of each contestant.
import { appendFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../scripts/build-native.mjs';
import { setupOrExit } from '../scripts/setup.mjs';
import { startCopy } from './copy.mjs';
import { stopwatch } from './quiet.mjs';
import { randomModel, sharedGguf } from './smollm2-shape.mjs';
import { significant } from './statistics.mjs';
import { inTurns } from './turns.mjs';

const numbers = { layers: 30, prompt: 32, tokens: 128, threads: 2, seconds: 8 };

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    options: { gguf: text(sharedGguf), ...Object.fromEntries(Object.entries(numbers).map(([name, n]) => [name, text(String(n))])) },
  });
  return { gguf: values.gguf, ...Object.fromEntries(Object.keys(numbers).map((name) => [name, Number(values[name])])) };
}

/** A model that decodes text after text; bytesPerToken at a text of half the length. */
async function decoder({ path, dtype, prompt, tokens }) {
  const { LoadedModel } = await import('../dist/loaded-model.js');
  const { Decoding } = await import('../dist/generate/decoding.js');
  const model = new LoadedModel({ path, dtype });
  const { config } = model.lm;
  const ids = Array.from({ length: prompt }, (_, i) => (i * 7919 + 1) % config.vocabSize);
  let weightBytes = 0;
  // The head reads a tied embedding whole; of one that is not tied a token reads a row.
  for (const p of model.lm.parameters()) if (config.tieWordEmbeddings || !p.name.includes('embed_tokens')) weightBytes += p.value.bytes;
  const cacheRow = 2 * config.layers.length * config.numKvHeads * config.headDim * (dtype === 'bf16' ? 2 : 4);

  /** As a contestant: milliseconds of each token. */
  const contestant = (seconds) => {
    const milliseconds = [];
    const start = () => {
      const decoding = new Decoding(model, prompt, prompt + tokens);
      for (const piece of decoding.pieces(ids)) decoding.feed(piece);
      return decoding;
    };
    let decoding = start();
    const read = stopwatch();
    const end = performance.now() + 1000 * seconds;
    do {
      if (decoding.length === prompt + tokens) {
        decoding.dispose();
        decoding = start();
      }
      const begin = performance.now();
      decoding.feed([decoding.sample({ temperature: 0, topK: 0, topP: 1, seed: 1 })]);
      milliseconds.push(performance.now() - begin);
    } while (performance.now() < end);
    const { others } = read();
    decoding.dispose();
    return { milliseconds, others };
  };
  return { contestant, bytesPerToken: weightBytes + cacheRow * (prompt + tokens / 2), dispose: () => model.dispose() };
}

async function main() {
  const { gguf, layers, prompt, tokens, threads: count, seconds } = readOptions();
  setupOrExit();
  const { threads } = await import('../dist/core/device.js');
  const { machine } = await import('./machine.mjs');
  threads(count);
  const models = [
    { name: 'bf16', path: await randomModel(layers, 'bf16'), dtype: 'bf16' },
    ...(existsSync(gguf) ? [{ name: 'GGUF', path: gguf, dtype: 'f32' }] : []),
  ];
  if (models.length === 1) console.log(`${gguf} does not exist: the GGUF row is left out`);
  const decoders = [];
  for (const { path, dtype } of models) decoders.push(await decoder({ path, dtype, prompt, tokens }));
  const copy = await startCopy(count);
  const [copied, ...results] = await inTurns([copy.contestant, ...decoders.map((d) => d.contestant)], seconds);
  const copyGbs = copy.bytes / copied.median / 1e6;
  await copy.stop();
  const rows = models.map(({ name, dtype }, i) => {
    const { bytesPerToken, dispose } = decoders[i];
    dispose();
    const { median, p20, p80, clean, turns } = results[i];
    const rate = (ms) => significant(1000 / ms);
    const gbs = bytesPerToken / median / 1e6;
    return {
      name,
      activations: dtype,
      tokensPerSecond: { median: rate(median), p20: rate(p80), p80: rate(p20) },
      bytesPerToken,
      gbs: significant(gbs),
      ofCopy: significant(gbs / copyGbs, 3),
      clean,
      turns,
    };
  });
  console.log(`copy ${significant(copyGbs)} GB/s on ${count} threads`);
  for (const { name, tokensPerSecond: t, gbs, ofCopy, bytesPerToken, clean, turns } of rows)
    console.log(
      `${name}: ${t.median} tokens/s (p20 ${t.p20}, p80 ${t.p80}; ${clean}/${turns} clean turns), ` +
        `${(bytesPerToken / 1e6).toFixed(1)} MB a token, ${gbs} GB/s = ${(100 * ofCopy).toFixed(0)}% of a copy`,
    );
  mkdirSync(join(root, 'bench', 'results'), { recursive: true });
  const line = { ...machine(), kind: 'generate', layers, prompt, tokens, copyGbs: significant(copyGbs), rows };
  appendFileSync(join(root, 'bench', 'results', 'generate.jsonl'), `${JSON.stringify(line)}\n`);
}

await main();
