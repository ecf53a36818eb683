import { CommandList } from '../native/call.js';
import { Arena, type ArenaPlan } from './arena.js';
import type { DeviceName } from './device.js';
import type { FloatType } from './dtype.js';
import type { Segment } from './memory.js';
import { Run, type RunOptions } from './run.js';

/** Where a program runs and in which type. */
export interface ProgramTarget {
  device: DeviceName;
  dtype: FloatType;
}

/** What a training program needs besides: where gradients go, and the keys of the random numbers. */
export type ProgramContext = Pick<RunOptions, 'sink' | 'seed' | 'step' | 'microBatch'>;

/** A recorded sequence of ops: its memory is known before it runs, and every run takes the same offsets. */
export class Program {
  private readonly target: ProgramTarget;
  private readonly plan: ArenaPlan;
  private readonly commands = new CommandList();

  /** Records `body` on shapes, which must be the largest it will ever see. */
  constructor(target: ProgramTarget, body: (run: Run) => void, context: ProgramContext = {}) {
    const arena = new Arena();
    body(new Run({ ...target, ...context, arena }));
    this.target = target;
    this.plan = arena.finish();
  }

  /** Bytes of arena memory that a run needs. */
  get bytes(): number {
    return this.plan.peakBytes;
  }

  /** What these bytes are for, by role. */
  get atPeak(): ArenaPlan['atPeak'] {
    return this.plan.atPeak;
  }

  /**
   * Runs `body` on memory of at least `bytes`; returns the highest byte it used. The ops run one after the other at the end of
   * `body` or at Run.flush, since JavaScript between two of them would find its caches empty.
   */
  run(memory: Segment, body: (run: Run) => void, context: ProgramContext = {}): number {
    const arena = new Arena(this.plan);
    const { commands } = this;
    try {
      const run = new Run({ ...this.target, ...context, arena, memory, commands });
      body(run);
      run.flush();
    } finally {
      commands.clear();
    }
    return arena.finish().peakBytes;
  }

  /**
   * The ops of `body` on memory of at least `bytes`, as a list that runs without going through `body` again: for programs whose
   * arguments are the same every time, tensors' contents aside.
   */
  compile(memory: Segment, body: (run: Run) => void): CommandList {
    const arena = new Arena(this.plan);
    const commands = new CommandList();
    body(new Run({ ...this.target, arena, memory, commands }));
    arena.finish();
    return commands;
  }
}
