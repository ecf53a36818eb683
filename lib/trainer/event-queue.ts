import type { TrainEvent } from './events.js';

/** Step events kept for a slow reader; older ones are dropped, all other events stay. */
const keptSteps = 1024;

type Waiter = { resolve: (result: IteratorResult<TrainEvent, undefined>) => void; reject: (error: unknown) => void };

/** Events on their way to a reader, bounded: only `step` events are ever lost. */
export class EventQueue implements AsyncIterable<TrainEvent> {
  private readonly events: TrainEvent[] = [];
  private readonly waiting: Waiter[] = [];
  private steps = 0;
  private ended = false;
  private failure: { error: unknown } | undefined;

  push(event: TrainEvent): void {
    const waiter = this.waiting.shift();
    if (waiter) {
      waiter.resolve({ value: event, done: false });
      return;
    }
    this.events.push(event);
    if (event.type !== 'step') return;
    this.steps += 1;
    if (this.steps <= keptSteps) return;
    this.events.splice(
      this.events.findIndex((e) => e.type === 'step'),
      1,
    );
    this.steps -= 1;
  }

  end(): void {
    this.ended = true;
    for (const w of this.waiting.splice(0)) w.resolve({ value: undefined, done: true });
  }

  fail(error: unknown): void {
    this.failure = { error };
    for (const w of this.waiting.splice(0)) w.reject(error);
  }

  [Symbol.asyncIterator](): AsyncIterator<TrainEvent, undefined> {
    return {
      next: () => {
        const event = this.events.shift();
        if (event) {
          if (event.type === 'step') this.steps -= 1;
          return Promise.resolve({ value: event, done: false });
        }
        if (this.failure) return Promise.reject(this.failure.error);
        if (this.ended) return Promise.resolve({ value: undefined, done: true });
        return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
      },
    };
  }
}
