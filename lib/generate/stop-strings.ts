/** Cuts a stream of text before the first of some strings; holds back what could be the beginning of one. */
export class StopStrings {
  private readonly strings: readonly string[];
  private held = '';
  private found = false;

  constructor(strings: readonly string[]) {
    this.strings = strings;
  }

  /** Whether a stop string came; nothing is given out from then on. */
  get stopped(): boolean {
    return this.found;
  }

  /** The text that is sure to be kept. */
  push(piece: string): string {
    if (this.found) return '';
    this.held += piece;
    const ends = this.strings.map((s) => this.held.indexOf(s)).filter((at) => at >= 0);
    if (ends.length > 0) {
      this.found = true;
      return this.held.slice(0, Math.min(...ends));
    }
    const keep = Math.max(0, ...this.strings.map((s) => overlap(this.held, s)));
    const text = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return text;
  }

  /** What was held back, at the end of the stream. */
  flush(): string {
    const text = this.found ? '' : this.held;
    this.held = '';
    return text;
  }
}

/** Length of the longest end of `text` that is a beginning of `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
