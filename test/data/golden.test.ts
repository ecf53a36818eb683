import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BatchPlan } from '../../lib/data/batching.js';
import { loadDataset } from '../../lib/data/dataset.js';
import { StreamingDecoder, Tokenizer } from '../../lib/data/tokenizer.js';
import { hasShared, sharedPath } from '../shared.js';

function json(...parts: string[]) {
  return JSON.parse(readFileSync(sharedPath(...parts), 'utf8'));
}

function load(...folder: string[]): Tokenizer {
  return Tokenizer.fromJson(json(...folder, 'tokenizer.json'), json(...folder, 'tokenizer_config.json'));
}

describe.skipIf(!hasShared)('SmolLM2-135M-Instruct', () => {
  const tokenizer = hasShared ? load('models', 'smollm2-135m-instruct') : (undefined as never);
  const golden = hasShared ? json('models', 'smollm2-135m-instruct', 'golden.json') : undefined;

  it('gives the reference token ids of texts and chat prompts', () => {
    for (const { text, ids } of golden.text) expect(tokenizer.encode(text)).toEqual(ids);
    for (const { messages, prompt_ids, new_ids, text } of golden.greedy_48) {
      const prompt = tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true });
      expect(tokenizer.encode(prompt)).toEqual(prompt_ids);
      expect(tokenizer.decode(new_ids, { skipSpecialTokens: true })).toBe(text);
      const stream = new StreamingDecoder(tokenizer);
      expect(new_ids.map((id: number) => stream.push(id)).join('') + stream.flush()).toBe(text);
    }
  });

  it('learns as many tokens of every Alpaca row as the reference', async () => {
    const rows = json('data', 'instruction', 'alpaca_en_demo.json').slice(0, 20);
    const { examples, report } = await loadDataset(rows, tokenizer, { maxLength: 1024 });
    const { per_row, tokens } = golden.alpaca_rows_0_19;
    const counts = examples.map((e) => e.labels.filter((label, i) => i > 0 && label >= 0).length);
    expect(counts).toEqual(per_row.map((row: { tokens: number }) => row.tokens));
    expect(report).toMatchObject({ format: 'alpaca', rows: 20, examples: 20, labelTokens: tokens, eosTrained: true });
    const learned = examples.map((e) => tokenizer.decode(e.inputIds.filter((_, i) => (e.labels[i] as number) >= 0)));
    expect(learned).toEqual(rows.map((row: { output: string }) => `${row.output}<|im_end|>\n`));
  });
});

describe.skipIf(!hasShared)('stories260K', () => {
  const tokenizer = hasShared ? load('models', 'stories260K') : (undefined as never);
  const golden = hasShared ? json('models', 'stories260K', 'golden.json') : undefined;

  it('gives the reference token ids and texts', () => {
    for (const { text, ids_no_special, decoded } of golden.tokenize) {
      expect(tokenizer.encode(text)).toEqual(ids_no_special);
      expect(tokenizer.decode(ids_no_special)).toBe(decoded);
    }
    expect(tokenizer.encode(golden.logits.prompt, { addSpecialTokens: true })).toEqual(golden.logits.ids);
    const { ids, text } = golden.greedy_from_bos_256;
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(text);
    const stream = new StreamingDecoder(tokenizer);
    expect(ids.map((id: number) => stream.push(id)).join('') + stream.flush()).toBe(text);
  });

  it('counts the tokens of the story loss', async () => {
    const stories = json('data', 'corpus', 'tinystories_1000.json').slice(0, 200);
    const { examples, report } = await loadDataset(stories, tokenizer, { maxLength: 512, appendEos: false });
    expect(report).toMatchObject({ format: 'text', labelTokens: golden.story_loss.tokens, eosTrained: false });
    const plan = new BatchPlan(examples, {
      batchSize: 4,
      gradientAccumulationSteps: 1,
      packing: false,
      maxLength: 512,
      shuffle: false,
      seed: 0,
    });
    const [batch] = plan.step(0, 0);
    expect(batch?.labelRows.length).toBe(examples.slice(0, 4).reduce((n, e) => n + e.inputIds.length - 1, 0));
  });
});
