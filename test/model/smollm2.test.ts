import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { fileIn, temporaryFolder } from '../formats/temporary.js';
import { hasShared, sharedPath } from '../shared.js';
import { largestDifference, logSumExp, smolGolden, textOf } from './golden.js';

interface AlpacaRow {
  instruction: string;
  input?: string;
  output: string;
}

// Slow: 135 million parameters, from 4-bit blocks.
describe.skipIf(!hasShared)('SmolLM2-135M-Instruct from GGUF', () => {
  const golden = hasShared ? smolGolden() : undefined;
  let model: Model;
  beforeAll(async () => {
    model = await loadModel({ path: sharedPath('models', 'smollm2-135m-instruct') });
  });
  afterAll(() => model?.dispose());

  it('has the logits and losses of transformers', () => {
    for (const want of golden!.text) {
      const rows = model.logits(want.ids);
      const last = rows.at(-1) as Float32Array;
      const nll = want.ids.slice(1).map((id, t) => logSumExp(rows[t] as Float32Array) - (rows[t]?.[id] as number));
      expect(largestDifference(last.subarray(0, 16), want.last_logits_first_16)).toBeLessThan(1e-3);
      expect(Math.abs(logSumExp(last) - want.last_logsumexp)).toBeLessThan(1e-3);
      expect(largestDifference(nll, want.per_token)).toBeLessThan(1e-3);
      expect(Math.abs(nll.reduce((a, b) => a + b) / nll.length - want.loss)).toBeLessThan(1e-3);
    }
  });

  it('answers as transformers does, but where two tokens are as good as even', async () => {
    for (const { messages, prompt_ids, new_ids, margins } of golden!.greedy_48) {
      const got = await model.generateTokens(prompt_ids, { maxNewTokens: new_ids.length });
      const differs = new_ids.findIndex((id, i) => id !== got[i]);
      if (differs >= 0) expect(margins[differs], `token ${differs} of "${messages.at(-1)?.content}"`).toBeLessThan(0.02);
      else expect(got).toEqual(new_ids);
    }
  }, 240_000);

  it('goes through its chat template and stops at the end of its turn', async () => {
    const { messages, new_ids } = golden!.greedy_48.find(({ new_ids: ids }) => ids.at(-1) === 2)!;
    expect(model.hasChatTemplate).toBe(true);
    expect(await textOf(model.generate(messages, { maxNewTokens: 48 }))).toBe(model.tokenizer!.decode(new_ids.slice(0, -1)));
  }, 240_000);

  it('has the loss of transformers on answers of Alpaca', async () => {
    const folder = temporaryFolder();
    const rows = JSON.parse(readFileSync(sharedPath('data', 'instruction', 'alpaca_en_demo.json'), 'utf8')) as AlpacaRow[];
    const chats = rows.slice(0, 20).map(({ instruction, input, output }) => ({
      messages: [
        { role: 'user', content: input ? `${instruction}\n${input}` : instruction },
        { role: 'assistant', content: output },
      ],
    }));
    const data = fileIn(folder, 'chats.jsonl', chats.map((c) => `${JSON.stringify(c)}\n`).join(''));
    const { loss, tokens } = golden!.alpaca_rows_0_19;
    const result = await model.evaluate(data, { maxLength: 1024, batchSize: 1, cacheDir: folder });
    expect(result.tokens).toBe(tokens);
    expect(Math.abs(result.loss - loss)).toBeLessThan(1e-3);
  }, 240_000);
});
