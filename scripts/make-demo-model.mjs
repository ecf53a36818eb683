#!/usr/bin/env node
// Makes assets/demo-model and assets/demo-data.jsonl, what `demo` and the examples run on: a tokenizer, a Llama of 0.2 million
// parameters with random weights, trained by this package on text from scripts/demo-model/corpus.mjs. Downloads nothing. The same
// seed gives the same files, bit for bit, with the same kernels on the same instruction set.
//   node scripts/make-demo-model.mjs [--steps 800] [--out assets]
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './build-native.mjs';
import { trainTokenizer } from './demo-model/byte-pair-encoding.mjs';
import { corpus, pirateRows } from './demo-model/corpus.mjs';
import { writeRandomWeights } from './random-weights.mjs';
import { setupOrExit } from './setup.mjs';

const { values: options } = parseArgs({
  options: { steps: { type: 'string', default: '800' }, out: { type: 'string', default: join(root, 'assets') } },
});
const seed = 7;
const trainedRows = 12_000;
const specialTokens = ['<|system|>', '<|user|>', '<|assistant|>', '<|end|>'];
const template =
  "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

const write = (folder, name, value) => writeFileSync(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
const jsonLines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

function writeTokenizer(folder, rows) {
  const texts = rows.flatMap(({ messages }) => messages.map(({ content }) => content));
  const tokenizer = trainTokenizer(texts, 512, specialTokens);
  write(folder, 'tokenizer.json', tokenizer);
  write(folder, 'tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: '<|end|>',
    pad_token: '<|end|>',
    add_bos_token: false,
    clean_up_tokenization_spaces: false,
    model_max_length: 512,
    chat_template: template,
  });
  return { vocabSize: 256 + tokenizer.model.merges.length + specialTokens.length, endId: tokenizer.added_tokens.at(-1).id };
}

function configOf({ vocabSize, endId }) {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: vocabSize,
    hidden_size: 64,
    intermediate_size: 160,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    hidden_act: 'silu',
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    rope_theta: 10000.0,
    tie_word_embeddings: true,
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: null,
    eos_token_id: endId,
    pad_token_id: endId,
    torch_dtype: 'float32',
  };
}

/** Writes the trained model with its weights rounded to bf16. */
async function writeRounded(from, out) {
  const { openModel } = await import('../dist/formats/model-source.js');
  const { writeModelFolder } = await import('../dist/formats/export-model.js');
  const source = openModel(from);
  const tensors = [...source.weights.names()].map((name) => ({ name, tensor: source.weights.tensor(name) }));
  writeModelFolder(out, { source, tensors, dtype: 'bf16', overwrite: true });
  source.weights.close();
}

async function main() {
  setupOrExit();
  const { train } = await import('../dist/index.js');
  const work = mkdtempSync(join(tmpdir(), 'node-finetune-demo-model-'));
  try {
    const rows = corpus(trainedRows, seed);
    const data = join(work, 'corpus.jsonl');
    writeFileSync(data, jsonLines(rows));
    const start = join(work, 'start');
    mkdirSync(start);
    const config = configOf(writeTokenizer(start, [...rows, ...pirateRows()]));
    write(start, 'config.json', config);
    write(start, 'generation_config.json', { eos_token_id: config.eos_token_id, pad_token_id: config.pad_token_id });
    await writeRandomWeights(join(start, 'model.safetensors'), config, { seed, standardDeviation: 0.05 });

    const trained = join(work, 'trained');
    const run = train({
      model: start,
      data,
      out: trained,
      method: { type: 'full' },
      optimizer: { type: 'adamw', beta2: 0.98 },
      learningRate: 4e-3,
      schedule: { type: 'cosine', warmupRatio: 0.03 },
      maxSteps: Number(options.steps),
      batchSize: 8,
      maxLength: 128,
      trainOn: 'all',
      seed,
      logEverySteps: 100,
      cacheDir: join(work, 'cache'),
    });
    run.on('step', ({ step, steps, loss, etaMs }) =>
      console.log(`step ${step}/${steps}  loss ${loss.toFixed(4)}  ${Math.round(etaMs / 1000)} s left`),
    );
    await run;
    mkdirSync(resolve(options.out), { recursive: true });
    const out = join(resolve(options.out), 'demo-model');
    await writeRounded(trained, out);
    writeFileSync(join(resolve(options.out), 'demo-data.jsonl'), jsonLines(pirateRows()));
    console.log(`wrote ${out}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

await main();
