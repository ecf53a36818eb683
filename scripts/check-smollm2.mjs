#!/usr/bin/env node
// LoRA r16 on all linear layers of SmolLM2-135M-Instruct with 500 Alpaca rows must lower the loss on 30 held-out rows.
// Needs the shared models and data beside the checkout; takes some minutes. Prints one JSON line; exits 1 if the loss did not fall.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadModel, train } from '../dist/index.js';

const shared = process.env.NODE_FINETUNE_SHARED ?? resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared');
const model = join(shared, 'models', 'smollm2-135m-instruct');
const rows = JSON.parse(readFileSync(join(shared, 'data', 'instruction', 'alpaca_en_demo.json'), 'utf8'));

const folder = mkdtempSync(join(tmpdir(), 'node-finetune-smollm2-'));
try {
  const write = (name, part) => {
    const path = join(folder, name);
    writeFileSync(path, part.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return path;
  };
  const data = write('train.jsonl', rows.slice(0, 500));
  const held = write('held-out.jsonl', rows.slice(500, 530));
  const maxLength = 256;
  const evaluate = async (adapter) => {
    const loaded = await loadModel({ path: model, ...(adapter && { adapter }) });
    try {
      return (await loaded.evaluate(held, { maxLength, batchSize: 4 })).loss;
    } finally {
      loaded.dispose();
    }
  };
  const before = await evaluate();
  const out = join(folder, 'adapter');
  const run = train({ model, data, out, maxLength, batchSize: 4, epochs: 1, method: { type: 'lora', rank: 16, alpha: 32 } });
  for await (const event of run)
    if (event.type === 'step' && event.step % 5 === 0)
      console.error(`step ${event.step}/${event.steps} loss ${event.loss.toFixed(4)} ${event.tokensPerSecond.toFixed(0)} tokens/s`);
  const { steps, tokens, elapsedMs, peakBytes, plannedBytes } = await run;
  const after = await evaluate(out);
  console.log(JSON.stringify({ heldOutLossBefore: before, heldOutLossAfter: after, steps, tokens, elapsedMs, peakBytes, plannedBytes }));
  process.exitCode = after < before ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
