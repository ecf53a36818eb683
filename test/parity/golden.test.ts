import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../../lib/trainer/session.js';
import { hasShared, sharedPath } from '../shared.js';
import { pack, readJson } from './fixture.js';
import { type Arithmetic, largestDifference, logitsOf, openSession, oracle, product } from './model-session.js';

interface StoriesGolden {
  greedy_from_bos_256: { ids: number[] };
  greedy_prompt_60: { ids: number[] };
  logits: { ids: number[]; last_position: number[]; per_position_logsumexp: number[] };
}

interface SmolGolden {
  greedy_48: { prompt_ids: number[]; new_ids: number[]; margins: number[] }[];
  text: { ids: number[]; loss: number; per_token: number[]; last_logits_first_16: number[]; last_logsumexp: number }[];
}

/** Rows of logits [T, V] of one sequence. */
function rowsOf(session: Session, ids: readonly number[], arithmetic: Arithmetic) {
  const flat = logitsOf(session, pack([ids], [ids]), arithmetic);
  const width = session.model.config.vocabSize;
  return ids.map((_, t) => flat.subarray(t * width, (t + 1) * width));
}

function logSumExp(row: ArrayLike<number>): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) max = Math.max(max, row[i] as number);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp((row[i] as number) - max);
  return max + Math.log(sum);
}

function argmax(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if ((row[i] as number) > (row[best] as number)) best = i;
  return best;
}

// Weights rounded to f16, bf16 or 8 bits give other logits: there only the greedy text must be the same.
const stories: [name: string, weights: 'exact' | 'rounded'][] = [
  ['stories260K', 'exact'],
  ['stories260K-variants/llama-untied', 'exact'],
  ['stories260K-variants/mistral', 'exact'],
  ['stories260K-variants/qwen2-zero-bias', 'exact'],
  ['stories260K-variants/phi3-fused', 'exact'],
  ['stories260K-variants/gemma-silu', 'exact'],
  ['stories260K-variants/stories260K-f32.gguf', 'exact'],
  ['stories260K-variants/stories260K-f16.gguf', 'rounded'],
  ['stories260K-variants/llama-f16', 'rounded'],
  ['stories260K-variants/llama-bf16-sharded', 'rounded'],
];

describe.skipIf(!hasShared).each([oracle, product])('real models on $device', (arithmetic) => {
  describe.each(stories)('%s', (name, weights) => {
    const golden = readStories();
    let session: Session;
    beforeAll(() => {
      session = openSession(sharedPath('models', ...name.split('/')), {}, [pack([[1, 2]], [[1, 2]])], arithmetic);
    });
    afterAll(() => session?.dispose());

    test.runIf(weights === 'exact')('logits', () => {
      const { ids, last_position, per_position_logsumexp } = golden.logits;
      const rows = rowsOf(session, ids, arithmetic);
      expect(largestDifference(rows.at(-1) ?? [], last_position)).toBeLessThan(1e-4);
      expect(largestDifference(rows.map(logSumExp), per_position_logsumexp)).toBeLessThan(1e-4);
    });

    test('greedy text', () => {
      const { ids } = weights === 'exact' ? golden.greedy_from_bos_256 : golden.greedy_prompt_60;
      const prompt = weights === 'exact' ? 1 : ids.length - 60;
      const rows = rowsOf(session, ids.slice(0, -1), arithmetic);
      expect(rows.slice(prompt - 1).map(argmax)).toEqual(ids.slice(prompt));
    });
  });
});

describe.skipIf(!hasShared)('SmolLM2-135M-Instruct from GGUF', () => {
  let session: Session;
  beforeAll(() => {
    session = openSession(sharedPath('models', 'smollm2-135m-instruct'), {}, [pack([[1, 2]], [[1, 2]])], product);
  });
  afterAll(() => session?.dispose());

  test('logits and losses of text', () => {
    for (const want of readSmol().text) {
      const rows = rowsOf(session, want.ids, product);
      const last = rows.at(-1) ?? [];
      const nll = want.ids.slice(1).map((id, t) => logSumExp(rows[t] ?? []) - (rows[t]?.[id] as number));
      expect(largestDifference(Array.from(last).slice(0, 16), want.last_logits_first_16)).toBeLessThan(1e-3);
      expect(Math.abs(logSumExp(last) - want.last_logsumexp)).toBeLessThan(1e-3);
      expect(largestDifference(nll, want.per_token)).toBeLessThan(1e-3);
      expect(Math.abs(nll.reduce((a, b) => a + b) / nll.length - want.loss)).toBeLessThan(1e-3);
    }
  });

  test('greedy answers', () => {
    for (const { prompt_ids, new_ids, margins } of readSmol().greedy_48) {
      const rows = rowsOf(session, [...prompt_ids, ...new_ids.slice(0, -1)], product);
      const got = rows.slice(prompt_ids.length - 1).map(argmax);
      const firstOff = got.findIndex((id, i) => id !== new_ids[i]);
      if (firstOff >= 0) expect(margins[firstOff], `token ${firstOff}: got ${got[firstOff]}`).toBeLessThan(0.02);
    }
  }, 120_000);
});

function readStories(): StoriesGolden {
  return hasShared ? readJson(sharedPath('models', 'stories260K', 'golden.json')) : ({} as StoriesGolden);
}

function readSmol(): SmolGolden {
  return readJson(sharedPath('models', 'smollm2-135m-instruct', 'golden.json'));
}
