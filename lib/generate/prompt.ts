import type { ChatMessage } from '../data/chat-template.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { LoadedModel } from '../loaded-model.js';
import { FinetuneError } from '../native/errors.js';

/**
 * Token ids of a prompt: text with the BOS token where the tokenizer puts one, messages through the chat template up to where the
 * answer begins.
 */
export function encodePrompt(tokenizer: Tokenizer, prompt: string | readonly ChatMessage[]): number[] {
  if (typeof prompt !== 'string') return tokenizer.encode(tokenizer.applyChatTemplate(prompt, { addGenerationPrompt: true }));
  const ids = tokenizer.encode(prompt);
  const { bosTokenId: bos, addsBos } = tokenizer;
  return addsBos && bos !== undefined && ids[0] !== bos ? [bos, ...ids] : ids;
}

/** @throws ERR_DATA_INVALID when there are no tokens, or one is not the model's, or more than the context holds */
export function checkIds(ids: readonly number[], { lm, path }: LoadedModel): void {
  const { vocabSize, maxPositionEmbeddings: context } = lm.config;
  if (ids.length === 0) throw new FinetuneError('ERR_DATA_INVALID', 'the prompt has no tokens: give at least one word');
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (wrong !== undefined)
    throw new FinetuneError('ERR_DATA_INVALID', `the prompt has token id ${wrong}, but ${path} knows 0 to ${vocabSize - 1}`, {
      id: wrong,
      vocabSize,
    });
  if (ids.length > context) throw tooLong(ids.length, context, path);
}

/** As checkIds, and wants room for a token behind. */
export function checkPrompt(ids: readonly number[], model: LoadedModel): void {
  checkIds(ids, model);
  const { maxPositionEmbeddings: context } = model.lm.config;
  if (ids.length === context) throw tooLong(ids.length, context, model.path);
}

function tooLong(tokens: number, context: number, path: string): FinetuneError {
  return new FinetuneError(
    'ERR_DATA_INVALID',
    `the prompt has ${tokens} tokens, and the context of ${path} ends at ${context}: shorten the prompt`,
    { tokens, context },
  );
}
