import type { Tokenizer } from './tokenizer.js';

/** A range of characters (UTF-16 units) of a text, end excluded. */
export interface Span {
  start: number;
  end: number;
}

export interface LearnedTokens {
  ids: number[];
  /** 1 where the token is learned. */
  learned: Uint8Array;
  /** Span borders that lie inside a token; such a token is learned. */
  inexact: number;
}

/**
 * Tokenizes a text and marks the tokens of the spans (ascending, not touching). The ids are those of the whole text; a token that
 * reaches into a span is learned.
 */
export function encodeSpans(tokenizer: Tokenizer, text: string, spans: readonly Span[]): LearnedTokens {
  const ids = tokenizer.encode(text);
  const learned = new Uint8Array(ids.length);
  const borders = spans.flatMap(({ start, end }) => [start, end]);
  const positions = bordersByPieces(tokenizer, text, ids, borders) ?? borders.map((border) => tokenAt(tokenizer, text, ids, border));
  for (let i = 0; i + 1 < positions.length; i += 2) {
    const [first, last] = [positions[i], positions[i + 1]] as [TokenBorder, TokenBorder];
    learned.fill(1, first.index, last.exact ? last.index : last.index + 1);
  }
  return { ids, learned, inexact: positions.filter((p) => !p.exact).length };
}

interface TokenBorder {
  /** First token that reaches beyond the border. */
  index: number;
  exact: boolean;
}

/** Token numbers of the borders where the pieces between them, tokenized alone, give the ids of the whole: the usual case. */
function bordersByPieces(
  tokenizer: Tokenizer,
  text: string,
  ids: readonly number[],
  borders: readonly number[],
): TokenBorder[] | undefined {
  const found: TokenBorder[] = [];
  let index = 0;
  let start = 0;
  for (const border of [...borders, text.length]) {
    for (const id of tokenizer.encode(text.slice(start, border))) if (id !== ids[index++]) return undefined;
    found.push({ index, exact: true });
    start = border;
  }
  return index === ids.length ? found.slice(0, -1) : undefined;
}

/**
 * The token at a character: what comes before it, tokenized alone, mostly is a beginning of `ids`. Where the last tokens differ, the
 * rest is walked token by token, comparing the decoded text from the same starting point.
 */
function tokenAt(tokenizer: Tokenizer, text: string, ids: readonly number[], border: number): TokenBorder {
  const before = tokenizer.encode(text.slice(0, border));
  let index = 0;
  while (index < before.length && before[index] === ids[index]) index++;
  if (index === before.length) return { index, exact: true };
  const from = index;
  const wanted = tokenizer.decode(before.slice(from));
  let reached = '';
  while (index < ids.length) {
    const decoded = tokenizer.decode(ids.slice(from, index + 1));
    // Part of a character at the end, shown as U+FFFD, does not count: it may belong to what follows.
    if (decoded !== wanted && decoded.replace(/\ufffd+$/, '').length >= wanted.length) break;
    reached = decoded;
    index++;
  }
  return { index, exact: reached === wanted };
}

/**
 * Prompt and completion as one text, split where generation would begin: after the prompt's own tokens. Where tokenizing them together
 * would merge across the border, they are tokenized apart if that spells the same text.
 */
export function encodePair(tokenizer: Tokenizer, prompt: string, completion: string): LearnedTokens {
  const before = tokenizer.encode(prompt);
  const whole = tokenizer.encode(prompt + completion);
  let ids = whole;
  if (!before.every((id, i) => id === whole[i])) {
    const apart = [...before, ...tokenizer.encode(completion)];
    if (tokenizer.decode(apart) !== tokenizer.decode(whole)) {
      return encodeSpans(tokenizer, prompt + completion, [{ start: prompt.length, end: prompt.length + completion.length }]);
    }
    ids = apart;
  }
  return { ids, learned: new Uint8Array(ids.length).fill(1, before.length), inexact: 0 };
}
