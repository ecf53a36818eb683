import { FinetuneError } from '../native/errors.js';
import { renderChat } from './chat-spans.js';
import { ignoredLabel } from './example.js';
import type { ChatSample, PairSample, Sample, TokenSample } from './readers/reader.js';
import { encodePair, encodeSpans, type LearnedTokens } from './segments.js';
import type { Tokenizer } from './tokenizer.js';

export interface EncodeOptions {
  /** Learn every token, or completions and assistant turns only; text is always learned whole. */
  trainOn: 'completion' | 'all';
  /** End plain text and completions with EOS. */
  appendEos: boolean;
  /** Give prompt and completion to the chat template as a user and an assistant turn. */
  promptsAsChat: boolean;
}

/** What happened to the samples, for the report. */
export interface EncodeCounts {
  /** Chat rows that became plain text for want of a chat template. */
  plainInsteadOfChat: number;
  /** Pairs left as plain text although there is a chat template. */
  plainPairs: number;
  /** Conversations split because the template shows earlier turns otherwise. */
  splitChats: number;
  /** Span borders inside a token. */
  inexactBorders: number;
  /** Conversations with tools, which the template does not show. */
  ignoredTools: number;
}

export function newCounts(): EncodeCounts {
  return { plainInsteadOfChat: 0, plainPairs: 0, splitChats: 0, inexactBorders: 0, ignoredTools: 0 };
}

/** Token ids and learned flags of a sample: none where nothing is learned, several where a template needs it. Not cut. */
export function encodeSample(
  sample: Sample,
  tokenizer: Tokenizer | undefined,
  options: EncodeOptions,
  counts: EncodeCounts,
): LearnedTokens[] {
  if (sample.kind === 'tokens') return [encodeTokens(sample, tokenizer, options)];
  if (!tokenizer) {
    throw new FinetuneError('ERR_CONFIG_INVALID', 'Rows of text need a tokenizer; without one only rows with input_ids can be read.');
  }
  switch (sample.kind) {
    case 'text':
      return [
        finish(tokenizer, { ids: tokenizer.encode(sample.text), learned: new Uint8Array(), inexact: 0 }, { ...options, trainOn: 'all' }),
      ];
    case 'pair':
      return encodePrompt(sample, tokenizer, options, counts);
    case 'chat':
      return encodeChat(sample, tokenizer, options, counts);
  }
}

function encodeTokens(sample: TokenSample, tokenizer: Tokenizer | undefined, options: EncodeOptions): LearnedTokens {
  const { inputIds: ids, labels } = sample;
  const limit = tokenizer?.vocabSize ?? 2 ** 31;
  const wrong = ids.find((id) => id < 0 || id >= limit);
  if (wrong !== undefined) {
    throw new FinetuneError(
      'ERR_DATA_INVALID',
      `the token id ${wrong} is outside the vocabulary (0 to ${limit - 1}). The rows were tokenized for another model.`,
    );
  }
  const all = options.trainOn === 'all' || labels === undefined;
  return { ids, learned: Uint8Array.from(ids, (_, i) => (all || labels[i] !== ignoredLabel ? 1 : 0)), inexact: 0 };
}

function encodePrompt(sample: PairSample, tokenizer: Tokenizer, options: EncodeOptions, counts: EncodeCounts): LearnedTokens[] {
  if (options.promptsAsChat) {
    const turns = [{ message: { role: 'user', content: sample.prompt } }, { message: { role: 'assistant', content: sample.completion } }];
    return encodeChat({ kind: 'chat', turns }, tokenizer, options, counts);
  }
  if (tokenizer.chatTemplate !== undefined) counts.plainPairs++;
  return [encodePlain(sample.prompt, sample.completion, tokenizer, options, counts)];
}

function encodePlain(
  prompt: string,
  completion: string,
  tokenizer: Tokenizer,
  options: EncodeOptions,
  counts: EncodeCounts,
): LearnedTokens {
  const tokens = encodePair(tokenizer, prompt, completion);
  counts.inexactBorders += tokens.inexact;
  return finish(tokenizer, tokens, options);
}

function encodeChat(sample: ChatSample, tokenizer: Tokenizer, options: EncodeOptions, counts: EncodeCounts): LearnedTokens[] {
  if (tokenizer.chatTemplate === undefined && sample.plain) {
    counts.plainInsteadOfChat++;
    return [encodePlain(sample.plain.prompt, sample.plain.completion, tokenizer, options, counts)];
  }
  if (sample.tools !== undefined && !tokenizer.showsTools) counts.ignoredTools++;
  const chats = renderChat(tokenizer, sample, options.trainOn === 'all');
  if (chats.length > 1) counts.splitChats++;
  return chats.map(({ text, spans }) => {
    const tokens = encodeSpans(tokenizer, text, spans);
    counts.inexactBorders += tokens.inexact;
    return tokens;
  });
}

/** Adds BOS where the tokenizer does, EOS at the end, and marks all as learned where wanted. */
function finish(tokenizer: Tokenizer, tokens: LearnedTokens, options: EncodeOptions): LearnedTokens {
  const { bosTokenId: bos, eosTokenId: eos } = tokenizer;
  const ids = [...tokens.ids];
  const learned = [...tokens.learned];
  if (options.appendEos && eos !== undefined && ids.at(-1) !== eos) {
    ids.push(eos);
    learned.push(1);
  }
  if (tokenizer.addsBos && bos !== undefined && ids[0] !== bos) {
    ids.unshift(bos);
    learned.unshift(0);
  }
  const flags = options.trainOn === 'all' ? new Uint8Array(ids.length).fill(1) : Uint8Array.from(learned);
  return { ids, learned: flags, inexact: tokens.inexact };
}
