/** Tokens per second and time left of a run, from the steps of this process. */
export class ProgressClock {
  private readonly begin = performance.now();
  private last = performance.now();
  private steps = 0;
  private tokens = 0;

  /** Notes a finished step; returns its rate and the estimated rest of the run. */
  step(tokens: number, stepsLeft: number): { tokensPerSecond: number; etaMs: number } {
    const now = performance.now();
    const seconds = Math.max((now - this.last) / 1000, 1e-9);
    this.last = now;
    this.steps += 1;
    this.tokens += tokens;
    return { tokensPerSecond: tokens / seconds, etaMs: ((now - this.begin) / this.steps) * stepsLeft };
  }

  /** Leaves what happened since the last step (evaluation, checkpoint) out of the next step's rate. */
  resume(): void {
    this.last = performance.now();
  }

  get elapsedMs(): number {
    return performance.now() - this.begin;
  }
  get totalTokens(): number {
    return this.tokens;
  }
}
