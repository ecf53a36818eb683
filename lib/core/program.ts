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
  /** Whether kept block inputs have memory of their own. */
  offloadsInputs?: boolean;
  /** Rows of a gated MLP at a time. Default: all of them. */
  mlpTileRows?: number | undefined;
}

/** Memory that a program runs on: at least `bytes`, and `inputBytes` where its target offloads inputs. */
export interface ProgramMemory {
  arena: Segment;
  inputs?: Segment | undefined;
}

/** What a training program needs besides: where gradients go, and the keys of the random numbers. */
export type ProgramContext = Pick<RunOptions, 'sink' | 'seed' | 'step' | 'microBatch'>;

/** A recorded sequence of ops: its memory is known before it runs, and every run takes the same offsets. */
export class Program {
  private readonly target: ProgramTarget;
  private readonly plan: ArenaPlan;
  private readonly inputsPlan: ArenaPlan | undefined;
  private readonly commands = new CommandList();

  /** Records `body` on shapes, which must be the largest it will ever see. */
  constructor(target: ProgramTarget, body: (run: Run) => void, context: ProgramContext = {}) {
    const arena = new Arena();
    const inputs = target.offloadsInputs ? { arena: new Arena() } : undefined;
    body(new Run({ ...target, ...context, arena, inputs }));
    this.target = target;
    this.plan = arena.finish();
    this.inputsPlan = inputs?.arena.finish();
  }

  /** Bytes of arena memory that a run needs. */
  get bytes(): number {
    return this.plan.peakBytes;
  }

  /** Bytes of memory for offloaded block inputs that a run needs. */
  get inputBytes(): number {
    return this.inputsPlan?.peakBytes ?? 0;
  }

  /** What these bytes are for, by role. */
  get atPeak(): ArenaPlan['atPeak'] {
    return this.plan.atPeak;
  }

  /**
   * Runs `body`; returns the highest byte of the arena it used. The ops run one after the other at the end of
   * `body` or at Run.flush, since JavaScript between two of them would find its caches empty.
   */
  run(memory: Segment | ProgramMemory, body: (run: Run) => void, context: ProgramContext = {}): number {
    const { arena: arenaMemory, inputs: inputsMemory } = 'arena' in memory ? memory : { arena: memory, inputs: undefined };
    const arena = new Arena(this.plan);
    const inputs = this.inputsPlan && { arena: new Arena(this.inputsPlan), memory: inputsMemory };
    const { commands } = this;
    try {
      const run = new Run({ ...this.target, ...context, arena, memory: arenaMemory, inputs, commands });
      body(run);
      run.flush();
    } finally {
      commands.clear();
    }
    inputs?.arena.finish();
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
