import { setImmediate } from 'node:timers/promises';
import { StreamingDecoder, type Tokenizer } from '../data/tokenizer.js';
import type { LoadedModel } from '../loaded-model.js';
import { Decoding } from './decoding.js';
import type { ResolvedGenerateOptions } from './options.js';
import { StopStrings } from './stop-strings.js';

/**
 * Tokens that continue a prompt, the end-of-sequence token included where it comes. Ends there, after maxNewTokens, and where the
 * context of the model is full. Other work of the event loop runs between tokens.
 */
export async function* generateIds(
  model: LoadedModel,
  prompt: readonly number[],
  options: ResolvedGenerateOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<number, void, undefined> {
  signal?.throwIfAborted();
  model.assertOpen();
  const room = Math.min(options.maxNewTokens, model.lm.config.maxPositionEmbeddings - prompt.length);
  const decoding = new Decoding(model, prompt.length, prompt.length + room);
  const pause = async (): Promise<void> => {
    await setImmediate();
    signal?.throwIfAborted();
  };
  try {
    for (const piece of decoding.pieces(prompt)) {
      decoding.feed(piece);
      await pause();
    }
    for (let made = 1; ; made++) {
      const id = decoding.sample(options);
      yield id;
      if (made === room || model.endIds.has(id)) return;
      await pause();
      decoding.feed([id]);
    }
  } finally {
    decoding.dispose();
  }
}

/** As generateIds, decoded: whole characters, no special tokens, cut before the first stop string. */
export async function* generateText(
  model: LoadedModel,
  tokenizer: Tokenizer,
  prompt: { ids: readonly number[]; continuesText: boolean },
  options: ResolvedGenerateOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, void, undefined> {
  const decoder = new StreamingDecoder(tokenizer);
  // How a token is spelled can depend on those before it (a space or none).
  if (prompt.continuesText) for (const id of prompt.ids.slice(-8)) decoder.push(id);
  const stops = new StopStrings(options.stopStrings);
  for await (const id of generateIds(model, prompt.ids, options, signal)) {
    if (model.endIds.has(id)) break;
    const text = stops.push(decoder.push(id));
    if (text !== '') yield text;
    if (stops.stopped) return;
  }
  const rest = stops.push(decoder.flush()) + stops.flush();
  if (rest !== '') yield rest;
}
