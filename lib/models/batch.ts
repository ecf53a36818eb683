import { release, type Segment } from '../core/memory.js';
import type { Tensor } from '../core/tensor.js';
import { layOutNamed } from '../core/tensor-block.js';

/** One micro-batch in host memory; lib/data/batching.ts makes them. */
export interface HostBatch {
  /** [N] */
  inputIds: Int32Array;
  /** [N] label of the next token of the same sequence, negative = none. */
  targets: Int32Array;
  /** [N] from 0 in each sequence. */
  positions: Int32Array;
  /** [S + 1] */
  cuSeqlens: Int32Array;
  /** Rows with a target, ascending. */
  labelRows: Int32Array;
}

/** Upper bounds over all batches of a run. */
export interface BatchCapacity {
  tokens: number;
  sequences: number;
  labelTokens: number;
}

/** A micro-batch in native memory. */
export interface Batch {
  ids: Tensor;
  positions: Tensor;
  cuSeqlens: Tensor;
  /** [n] rows that carry loss. */
  labelRows: Tensor;
  /** [n] their targets and loss weights. */
  targets: Tensor;
  weights: Tensor;
  /** [1] f64, sum of weighted losses. */
  lossSum: Tensor;
}

/** Native buffers for the largest batch of a run; load() fills them and returns views of the batch's size. */
export class BatchBuffers {
  private readonly segment: Segment;
  private readonly tensors: Record<keyof Batch, Tensor>;

  constructor(capacity: BatchCapacity, accumulator: 'f32' | 'f64', dry: boolean) {
    const i32 = (n: number) => ({ dtype: 'i32' as const, shape: [n] });
    const layout = {
      lossSum: { dtype: 'f64' as const, shape: [1] },
      weights: { dtype: accumulator, shape: [capacity.labelTokens] },
      ids: i32(capacity.tokens),
      positions: i32(capacity.tokens),
      cuSeqlens: i32(capacity.sequences + 1),
      labelRows: i32(capacity.labelTokens),
      targets: i32(capacity.labelTokens),
    };
    const { segment, tensors } = layOutNamed(layout, dry ? 'dry' : 'other');
    this.segment = segment;
    this.tensors = tensors;
  }

  get bytes(): number {
    return this.segment.bytes;
  }

  /** The buffers at full size, for a dry run. */
  full(): Batch {
    return { ...this.tensors };
  }

  /** Copies a batch in. tokenWeight is the loss weight of every learned token: 1 / learned tokens of the whole optimizer step. */
  load(host: HostBatch, tokenWeight: number): Batch {
    const n = host.labelRows.length;
    const targets = Int32Array.from(host.labelRows, (row) => host.targets[row] as number);
    const fill = (t: Tensor, values: ArrayLike<number>) => {
      const view = t.slice(0, values.length);
      view.write(values);
      return view;
    };
    const { tensors: b } = this;
    return {
      ids: fill(b.ids, host.inputIds),
      positions: fill(b.positions, host.positions),
      cuSeqlens: fill(b.cuSeqlens, host.cuSeqlens),
      labelRows: fill(b.labelRows, host.labelRows),
      targets: fill(b.targets, targets),
      weights: fill(b.weights, new Float64Array(n).fill(tokenWeight)),
      lossSum: b.lossSum,
    };
  }

  dispose(): void {
    release(this.segment);
  }
}
