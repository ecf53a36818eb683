import { FinetuneError } from '../native/errors.js';

const alignment = 64;

/** What an allocation is for, to explain the peak. checkpoints: inputs of blocks that are computed again in the backward pass. */
export type ArenaRole = 'checkpoints' | 'saved' | 'transient' | 'workspace';

interface Block {
  offset: number;
  bytes: number;
  role: ArenaRole;
}

interface PlannedBlock extends Block {
  name: string;
}

/** Offsets of every allocation of one program, in program order, and the memory they span. */
export interface ArenaPlan {
  readonly blocks: readonly PlannedBlock[];
  readonly peakBytes: number;
  /** Bytes in use by role when the peak was reached. */
  readonly atPeak: Readonly<Record<ArenaRole, number>>;
}

/**
 * Memory of everything that lives inside a step. Recording runs the program on shapes alone and assigns offsets first-fit with explicit frees;
 * replaying runs the same program on real memory and takes the recorded offsets in the same order. A smaller batch replays the plan of
 * the largest one: every allocation fits where the plan put it, so nothing is allocated after the plan and no run exceeds it.
 */
export class Arena {
  /** Sorted by offset. */
  private readonly live: Block[] = [];
  private readonly recorded: PlannedBlock[] = [];
  private readonly plan: ArenaPlan | undefined;
  private next = 0;
  private peak = 0;
  private inUse: Record<ArenaRole, number> = { checkpoints: 0, saved: 0, transient: 0, workspace: 0 };
  private atPeak = this.inUse;

  /** Without a plan: record. With one: replay. */
  constructor(plan?: ArenaPlan) {
    this.plan = plan;
  }

  /**
   * Runs `body` several times on the same offsets: the first time records, the others must allocate the same in the same order, nothing
   * larger, and leave nothing behind. How often may differ between the plan and a replay.
   */
  repeat(times: number, body: (index: number) => void): void {
    const begin = this.next;
    for (let i = 0; i < times; i++) {
      this.next = begin;
      body(i);
    }
  }

  /** Offset of `bytes` bytes, aligned to 64. */
  allocate(bytes: number, name: string, role: ArenaRole): number {
    const size = Math.max(1, Math.ceil(bytes / alignment)) * alignment;
    const known = this.plan?.blocks ?? (this.next < this.recorded.length ? this.recorded : undefined);
    const offset = known ? this.replay(known, size, name) : this.firstFit(size);
    if (!known) {
      this.recorded.push({ offset, bytes: size, role, name });
      this.next++;
    }
    const after = this.live.findIndex((b) => b.offset > offset);
    this.live.splice(after === -1 ? this.live.length : after, 0, { offset, bytes: size, role });
    this.inUse[role] += size;
    if (offset + size > this.peak) {
      this.peak = offset + size;
      this.atPeak = { ...this.inUse };
    }
    return offset;
  }

  free(offset: number): void {
    const index = this.live.findIndex((b) => b.offset === offset);
    const block = this.live[index];
    if (!block) throw new FinetuneError('ERR_INTERNAL', `arena: nothing is allocated at offset ${offset}`);
    this.live.splice(index, 1);
    this.inUse[block.role] -= block.bytes;
  }

  /** Ends the program: everything must have been freed, and a replay must have run to the end of its plan. */
  finish(): ArenaPlan {
    if (this.live.length > 0) {
      const blocks = this.plan?.blocks.slice(0, this.next) ?? this.recorded;
      const names = this.live.map((l) => blocks.findLast((b) => b.offset === l.offset)?.name);
      throw new FinetuneError('ERR_INTERNAL', `arena: ${this.live.length} tensors were never freed: ${names.slice(0, 8).join(', ')}`);
    }
    if (this.plan && this.next !== this.plan.blocks.length)
      throw new FinetuneError('ERR_INTERNAL', `arena: the run made ${this.next} of ${this.plan.blocks.length} planned allocations`);
    return { blocks: this.recorded, peakBytes: this.peak, atPeak: this.atPeak };
  }

  /** Highest byte in use so far. */
  get peakBytes(): number {
    return this.peak;
  }

  private replay(blocks: readonly PlannedBlock[], size: number, name: string): number {
    const planned = blocks[this.next++];
    if (!planned || planned.name !== name || size > planned.bytes)
      throw new FinetuneError(
        'ERR_INTERNAL',
        `arena: allocation ${this.next} is ${name} with ${size} bytes, planned was ${planned ? `${planned.name} with ${planned.bytes}` : 'nothing'}`,
      );
    return planned.offset;
  }

  private firstFit(size: number): number {
    let offset = 0;
    for (const b of this.live) {
      if (b.offset - offset >= size) break;
      offset = Math.max(offset, b.offset + b.bytes);
    }
    return offset;
  }
}
