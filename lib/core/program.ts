import { Arena, type ArenaPlan } from './arena.js';
import type { DeviceName } from './device.js';
import type { FloatType } from './dtype.js';
import type { Segment } from './memory.js';
import { Run } from './run.js';

/** Where a program runs and in which type. */
export interface ProgramTarget {
  device: DeviceName;
  dtype: FloatType;
}

/** A recorded sequence of ops without gradients: its memory is known before it runs, and every run takes the same offsets. */
export class Program {
  private readonly target: ProgramTarget;
  private readonly plan: ArenaPlan;

  /** Records `body` on shapes, which must be the largest it will ever see. */
  constructor(target: ProgramTarget, body: (run: Run) => void) {
    const arena = new Arena();
    body(new Run({ ...target, arena }));
    this.target = target;
    this.plan = arena.finish();
  }

  /** Bytes of arena memory that a run needs. */
  get bytes(): number {
    return this.plan.peakBytes;
  }

  run(memory: Segment, body: (run: Run) => void): void {
    const arena = new Arena(this.plan);
    body(new Run({ ...this.target, arena, memory }));
    arena.finish();
  }
}
