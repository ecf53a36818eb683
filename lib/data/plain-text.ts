import { FinetuneError } from '../native/errors.js';
import type { LearnedTokens } from './segments.js';
import type { Tokenizer } from './tokenizer.js';

/** Text is tokenized in blocks of this many characters, cut at line breaks, to bound memory. */
const blockLength = 2 ** 23;

/**
 * Cuts one continuous text into sequences of `maxLength` tokens, all learned. Every sequence begins with BOS where the tokenizer adds it,
 * since such models never saw text without; EOS stands at the end of the text only.
 */
export function* cutPlainText(text: string, tokenizer: Tokenizer, maxLength: number, appendEos: boolean): Generator<LearnedTokens> {
  const head = tokenizer.addsBos && tokenizer.bosTokenId !== undefined ? [tokenizer.bosTokenId] : [];
  const body = maxLength - head.length;
  if (body < 1) throw new FinetuneError('ERR_CONFIG_INVALID', `maxLength: wanted at least 2; came ${maxLength}.`);
  let open: number[] = [];
  const sequence = (ids: number[]): LearnedTokens => {
    const whole = [...head, ...ids];
    return { ids: whole, learned: new Uint8Array(whole.length).fill(1), inexact: 0 };
  };
  for (let start = 0; start < text.length; ) {
    const end = blockEnd(text, start);
    const ids = tokenizer.encode(text.slice(start, end));
    const { eosTokenId: eos } = tokenizer;
    if (end === text.length && appendEos && eos !== undefined && ids.at(-1) !== eos) ids.push(eos);
    open = open.concat(ids);
    let cut = 0;
    for (; cut + body <= open.length; cut += body) yield sequence(open.slice(cut, cut + body));
    open = open.slice(cut);
    start = end;
  }
  if (open.length > 0) yield sequence(open);
}

function blockEnd(text: string, start: number): number {
  if (start + blockLength >= text.length) return text.length;
  const lineBreak = text.lastIndexOf('\n', start + blockLength);
  if (lineBreak > start) return lineBreak + 1;
  // Never between the halves of a surrogate pair.
  const end = start + blockLength;
  const code = text.charCodeAt(end);
  return code >= 0xdc00 && code <= 0xdfff ? end - 1 : end;
}
