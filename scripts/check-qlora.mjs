#!/usr/bin/env node
// LoRA r16 in bf16 on SmolLM2-135M-Instruct with Alpaca rows, over its weights in bf16, over the same in NF4 (QLoRA) and in int8,
// and over the GGUF file they come from: the same steps, each in bf16. Needs the shared models and data beside the checkout.
//   node scripts/check-qlora.mjs [--steps 40]
// Prints a JSON line a run: mean loss of the last quarter of the steps, loss on 30 held-out rows, planned and measured peak.
// Exits 1 if the losses of a quantized base are more than 2% above those of bf16, or a peak is above the plan.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeModelFolder } from '../dist/formats/export-model.js';
import { openModel } from '../dist/formats/model-source.js';
import { loadModel, train } from '../dist/index.js';

const { values } = parseArgs({ options: { steps: { type: 'string', default: '40' } } });
const maxSteps = Number(values.steps);
const shared = process.env.NODE_FINETUNE_SHARED ?? resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared');
const gguf = join(shared, 'models', 'smollm2-135m-instruct');
const rows = JSON.parse(readFileSync(join(shared, 'data', 'instruction', 'alpaca_en_demo.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'node-finetune-qlora-'));

function toBf16(out) {
  const source = openModel(gguf);
  const tensors = source.weights.names().map((name) => ({ name, tensor: source.weights.tensor(name), dtype: 'bf16' }));
  writeModelFolder(out, { source, tensors });
  source.weights.close();
  return out;
}

const write = (name, part) => {
  const path = join(folder, name);
  writeFileSync(path, part.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
};

async function run(name, base, data, held) {
  const out = join(folder, name);
  const common = { dtype: 'bf16', maxLength: 256, batchSize: 4 };
  const training = train({ ...base, ...common, data, out, maxSteps, method: { type: 'lora', rank: 16, alpha: 32 } });
  const losses = [];
  for await (const event of training) if (event.type === 'step') losses.push(event.loss);
  const { tokens, elapsedMs, peakBytes, plannedBytes } = await training;
  const { model: path, ...quantization } = base;
  const loaded = await loadModel({ path, ...quantization, dtype: 'bf16', adapter: out });
  const { loss: heldOutLoss } = await loaded.evaluate(held, { maxLength: 256, batchSize: 4 });
  loaded.dispose();
  const last = losses.slice(-Math.ceil(losses.length / 4));
  const result = {
    name,
    steps: losses.length,
    firstLoss: losses[0],
    lastLosses: last.reduce((a, b) => a + b, 0) / last.length,
    heldOutLoss,
    tokensPerSecond: (1000 * tokens) / elapsedMs,
    peakBytes,
    plannedBytes,
  };
  console.log(JSON.stringify(result));
  return result;
}

try {
  const data = write('train.jsonl', rows.slice(0, 500));
  const held = write('held-out.jsonl', rows.slice(500, 530));
  const model = toBf16(join(folder, 'model'));
  const bf16 = await run('bf16', { model }, data, held);
  const others = [
    await run('nf4', { model, quantize: 'nf4' }, data, held),
    await run('int8', { model, quantize: 'int8' }, data, held),
    await run('q4_1', { model: gguf }, data, held),
  ];
  for (const { name, lastLosses, heldOutLoss, peakBytes, plannedBytes } of others) {
    const [train2, held2] = [lastLosses / bf16.lastLosses - 1, heldOutLoss / bf16.heldOutLoss - 1];
    console.log(`${name}: ${(100 * train2).toFixed(2)}% in training, ${(100 * held2).toFixed(2)}% held out`);
    if (train2 > 0.02 || held2 > 0.02 || peakBytes > plannedBytes) process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
