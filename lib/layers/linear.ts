import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';

/** Extra columns of the inner dimension: y += scale * x weight^T, in the same pass over y. */
export interface LowRankTail {
  /** [N, R] */
  x: Tensor;
  /** [M, R] forward, [R, K] backward. */
  weight: Tensor;
  scale: number;
}

/** A change of one linear layer that a tuning method plugs in: LoRA and its family. */
export interface LinearAdapter {
  parameters(): Iterable<Parameter>;
  /**
   * Writes y; returns what its backward needs, or frees it and returns undefined when keep is false.
   * Without y (recomputation) only that is made.
   */
  forward(base: Linear, x: Tensor, y: Tensor | undefined, residual: Tensor | undefined, keep: boolean, run: Run): unknown;
  backwardInput(base: Linear, dy: Tensor, saved: unknown, dx: Tensor | undefined, accumulate: boolean, run: Run): void;
  /** Delivers the adapter's gradients and frees saved. */
  backwardWeight(base: Linear, dy: Tensor, x: Tensor, saved: unknown, run: Run): void;
  /** Frees saved without a backward. */
  discard(saved: unknown, run: Run): void;
}

/** y = x W^T + b with W [M, K] as stored in the checkpoint, in any storage format while frozen. */
export class Linear implements Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  adapter: LinearAdapter | undefined;

  constructor(weight: Parameter, bias?: Parameter) {
    this.weight = weight;
    this.bias = bias;
  }

  /** Module path as in the checkpoint, without `.weight`: what target patterns are matched against. */
  get path(): string {
    return this.weight.name.replace(/\.weight$/, '');
  }
  get inFeatures(): number {
    return this.weight.shape[1] as number;
  }
  get outFeatures(): number {
    return this.weight.shape[0] as number;
  }

  *parameters(): Iterable<Parameter> {
    yield this.weight;
    if (this.bias) yield this.bias;
    if (this.adapter) yield* this.adapter.parameters();
  }

  /** Whether its backward has weight gradients to make, and so needs its input x again. */
  get trains(): boolean {
    return this.weight.trainable || (this.bias?.trainable ?? false) || this.adapter !== undefined;
  }

  /** y [N, M] = x [N, K] W^T + b [+ residual]. Without y only what the adapter's backward needs is made. */
  forward(x: Tensor, y: Tensor | undefined, run: Run, keep: boolean, residual?: Tensor): unknown {
    if (this.adapter) return this.adapter.forward(this, x, y, residual, keep, run);
    if (y) this.forwardBase(x, y, residual, undefined, run);
    return undefined;
  }

  /** dx [N, K] = dy W, or added to dx. dx is left out where nothing below trains: then only the adapter's share is prepared. */
  backwardInput(dy: Tensor, saved: unknown, dx: Tensor | undefined, accumulate: boolean, run: Run): void {
    if (this.adapter) this.adapter.backwardInput(this, dy, saved, dx, accumulate, run);
    else if (dx) this.backwardInputBase(dy, dx, accumulate, undefined, run);
  }

  /** Delivers the weight gradients; after backwardInput, since W may change here. Frees saved. */
  backwardWeight(dy: Tensor, x: Tensor, saved: unknown, run: Run): void {
    if (this.adapter) this.adapter.backwardWeight(this, dy, x, saved, run);
    const { sink } = run;
    if (!sink) return;
    if (this.bias?.trainable) sink.vector(this.bias, run, (dbias) => dbias && ops.linearBackwardBias(run, { dy, dbias }));
    if (this.weight.trainable) sink.weight(this.weight, dy, x, 1, run);
  }

  /** Frees saved without a backward. */
  discard(saved: unknown, run: Run): void {
    this.adapter?.discard(saved, run);
  }

  /** The frozen product with an optional low-rank tail, for adapters. */
  forwardBase(x: Tensor, y: Tensor, residual: Tensor | undefined, tail: LowRankTail | undefined, run: Run): void {
    ops.linearForward(run, {
      x,
      weight: this.weight.value,
      bias: this.bias?.value,
      tailX: tail?.x,
      tailWeight: tail?.weight,
      tailScale: tail?.scale ?? 1,
      residual,
      y,
    });
  }

  /** The frozen input gradient with an optional low-rank tail, for adapters. */
  backwardInputBase(dy: Tensor, dx: Tensor, accumulate: boolean, tail: LowRankTail | undefined, run: Run): void {
    ops.linearBackwardInput(run, {
      dy,
      weight: this.weight.value,
      tailDy: tail?.x,
      tailWeight: tail?.weight,
      tailScale: tail?.scale ?? 1,
      dx,
      accumulate: accumulate ? 1 : 0,
    });
  }
}
