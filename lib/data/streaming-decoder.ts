import type { Tokenizer } from './tokenizer.js';

const replacement = '\ufffd';

/**
 * Text of generated tokens, piece by piece; the pieces joined equal `decode` of all ids. A token may hold only part of a UTF-8 character:
 * nothing is given out until the character is whole.
 */
export class StreamingDecoder {
  private readonly tokenizer: Tokenizer;
  private readonly skipSpecialTokens: boolean;
  /** The last ids given out, which decide how the next one is spelled (spaces), then those still held back. */
  private window: number[] = [];
  private given = 0;

  /** `skipSpecialTokens` leaves out control tokens. Default: true */
  constructor(tokenizer: Tokenizer, options: { skipSpecialTokens?: boolean } = {}) {
    this.tokenizer = tokenizer;
    this.skipSpecialTokens = options.skipSpecialTokens ?? true;
  }

  /** The text that this token completes, often empty. */
  push(id: number): string {
    if (this.skipSpecialTokens && this.tokenizer.isSpecial(id)) return '';
    if (this.tokenizer.tokenOf(id) === undefined) return '';
    this.window.push(id);
    return this.take(false);
  }

  /** What is still held back: a character that never became whole, as U+FFFD. */
  flush(): string {
    const text = this.take(true);
    this.window = [];
    this.given = 0;
    return text;
  }

  private take(all: boolean): string {
    const before = this.tokenizer.decode(this.window.slice(0, this.given));
    const now = this.tokenizer.decode(this.window);
    if (!all && (now.endsWith(replacement) || now.length <= before.length)) return '';
    this.window = this.window.slice(this.given);
    this.given = this.window.length;
    return now.slice(before.length);
  }
}
