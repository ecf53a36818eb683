import { readFileSync } from 'node:fs';
import { sharedPath } from '../shared.js';

export interface StoriesGolden {
  greedy_from_bos_256: { ids: number[]; text: string };
  greedy_prompt_60: { prompt: string; ids: number[]; text: string };
  logits: { ids: number[]; last_position: number[]; per_position_logsumexp: number[] };
  story_loss: { per_story_first_20: number[]; token_mean: number; tokens: number };
}

export interface SmolGolden {
  greedy_48: { messages: { role: string; content: string }[]; prompt_ids: number[]; new_ids: number[]; margins: number[] }[];
  text: { ids: number[]; loss: number; per_token: number[]; last_logits_first_16: number[]; last_logsumexp: number }[];
  alpaca_rows_0_19: { loss: number; tokens: number; per_row: { loss: number; tokens: number }[] };
}

const readJson = (...parts: string[]): unknown => JSON.parse(readFileSync(sharedPath(...parts), 'utf8'));

export const storiesGolden = (): StoriesGolden => readJson('models', 'stories260K', 'golden.json') as StoriesGolden;
export const smolGolden = (): SmolGolden => readJson('models', 'smollm2-135m-instruct', 'golden.json') as SmolGolden;
export const stories = (): string[] => readJson('data', 'corpus', 'tinystories_1000.json') as string[];

export function logSumExp(row: ArrayLike<number>): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) max = Math.max(max, row[i] as number);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp((row[i] as number) - max);
  return max + Math.log(sum);
}

/** Largest absolute difference; infinite where the lengths differ or a value is NaN. */
export function largestDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs((got[i] as number) - (want[i] as number));
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst;
}

export async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}
