import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import type { Attention, AttentionSaved, KeyValueCache, Sequences } from './attention.js';
import type { Linear } from './linear.js';
import type { Mlp, MlpSaved } from './mlp.js';

/** What backward needs of a block; everything else is recomputed from it without repeating a matrix product. */
export interface BlockSaved {
  /** Residual stream between attention and MLP, [N, C]. */
  middle: Tensor;
  attention: AttentionSaved;
  mlp: MlpSaved;
}

/** Pre-norm transformer decoder block: h = x + attention(norm(x)); y = h + mlp(norm(h)), with the options of DecoderConfig. */
export class DecoderBlock implements Module {
  readonly attention: Attention;
  readonly mlp: Mlp;
  readonly index: number;

  constructor(index: number, attention: Attention, mlp: Mlp) {
    this.index = index;
    this.attention = attention;
    this.mlp = mlp;
  }

  *parameters(): Iterable<Parameter> {
    yield* this.attention.parameters();
    yield* this.mlp.parameters();
  }
  *linears(): Iterable<Linear> {
    yield* this.attention.linears();
    yield* this.mlp.linears();
  }
  get trains(): boolean {
    for (const p of this.parameters()) if (p.trainable) return true;
    return false;
  }

  /** y [N, C] from x [N, C], keeping nothing but the cache's new keys and values. With keepsOutput y is a checkpoint. */
  forward(x: Tensor, sequences: Sequences, run: Run, cache?: KeyValueCache, keepsOutput = false): Tensor {
    const middle = run.empty('block.middle', x.shape);
    this.attention.forward(x, middle, sequences, run, false, cache);
    const y = keepsOutput ? run.checkpoint('block.y', x.shape) : run.empty('block.y', x.shape);
    this.mlp.forward(middle, y, run, false);
    run.free(middle);
    return y;
  }

  /** As forward, keeping what backward needs. Without wantsOutput the last product is skipped: recomputation needs no y. */
  forwardSaving(x: Tensor, sequences: Sequences, run: Run, wantsOutput: boolean): { y: Tensor | undefined; saved: BlockSaved } {
    const middle = run.saved('block.middle', x.shape);
    const attention = this.attention.forward(x, middle, sequences, run, true) as AttentionSaved;
    const y = wantsOutput ? run.saved('block.y', x.shape) : undefined;
    const mlp = this.mlp.forward(middle, y, run, true) as MlpSaved;
    return { y, saved: { middle, attention, mlp } };
  }

  /** Turns dy into dx in place, delivers the weight gradients, frees saved. With wantsInput false dx is not completed. */
  backward(d: Tensor, x: Tensor, saved: BlockSaved, sequences: Sequences, run: Run, wantsInput: boolean): void {
    this.mlp.backward(d, saved.middle, saved.mlp, run);
    run.free(saved.middle);
    this.attention.backward(d, x, saved.attention, sequences, run, wantsInput);
  }
}
