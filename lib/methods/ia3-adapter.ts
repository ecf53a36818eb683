import type { FloatType } from '../core/dtype.js';
import { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import { Tensor } from '../core/tensor.js';
import type { AdapterTail, ColumnScaling, Linear, LinearAdapter } from '../layers/linear.js';
import type { OpContext } from '../native/call.js';
import * as ops from '../native/ops.js';
import { peftPrefix } from './adapter-tensors.js';
import { scaleRows } from './scale-rows.js';

/** Name of a layer's vector as peft stores it. */
export const ia3Name = (base: Linear): string => `${peftPrefix}${base.path}.ia3_l`;

/** Shape of the vector as peft stores it. */
export const ia3Shape = (base: Linear, isFeedForward: boolean): number[] => (isFeedForward ? [1, base.inFeatures] : [base.outFeatures, 1]);

interface Ia3Saved {
  /** [N, M] output before the factors, or [N, K] gradient of the scaled input: what the gradient of l is made with. */
  kept: Tensor | undefined;
  /** [N, M] dy times the factors, made by backwardInput. */
  inner: Tensor | undefined;
}

/**
 * (IA)^3 on one linear layer (Liu et al. 2022, arXiv 2205.05638): l times the output, with its bias, or times the input of a
 * feed-forward layer, as peft does.
 *   output: y = l * (x W^T + b),  dl = sum over rows of dy * (x W^T + b),  dx = (l * dy) W
 *   input:  y = (l * x) W^T + b,  dl = sum over rows of g * x,  dx = l * g,  g = dy W
 */
export class Ia3Adapter implements LinearAdapter {
  /** [M, 1], or [1, K] on the input. */
  readonly l: Parameter;
  readonly scaling: ColumnScaling;

  constructor(base: Linear, isFeedForward: boolean, dtype: FloatType) {
    const name = ia3Name(base);
    this.l = new Parameter(name, Tensor.dry(dtype, ia3Shape(base, isFeedForward), name));
    this.l.trainable = true;
    this.scaling = { side: isFeedForward ? 'input' : 'output', includesBias: true };
  }

  *parameters(): Iterable<Parameter> {
    yield this.l;
  }

  forwardTails(peers: readonly Ia3Adapter[]): AdapterTail[] {
    return peers.map(() => ({ tail: undefined, saved: { kept: undefined, inner: undefined } satisfies Ia3Saved }));
  }

  factors(): Tensor {
    return vector(this.l.value);
  }

  keepUnscaled(saved: Ia3Saved, y: Tensor): void {
    saved.kept = y;
  }

  innerGradient(dy: Tensor, saved: Ia3Saved, wantsInput: boolean, run: Run): Tensor {
    if (!wantsInput) return dy;
    saved.inner = run.empty('ia3.dy', [dy.rows, dy.cols]);
    ops.scaleColumns(run, { x: dy, factors: this.factors(), y: saved.inner });
    return saved.inner;
  }

  backwardTail(): undefined {
    return undefined;
  }

  finishInput(): void {}

  backwardWeights(peers: readonly Ia3Adapter[], dys: readonly Tensor[], x: Tensor, saved: readonly Ia3Saved[], run: Run): void {
    peers.forEach((p, i) => {
      const own = saved[i] as Ia3Saved;
      const operands = { a: p.scaling.side === 'output' ? (dys[i] as Tensor) : x, b: own.kept as Tensor };
      run.sink?.vector(p.l, run, (gradient) => gradient && ops.columnDot(run, { ...operands, out: vector(gradient) }));
      p.discard(own, run);
    });
  }

  discard(saved: Ia3Saved | undefined, run: Run): void {
    run.free(saved?.inner, saved?.kept);
  }

  mergeRows(rows: Tensor, begin: number, context: OpContext): void {
    if (this.scaling.side === 'input') ops.scaleColumns(context, { x: rows, factors: this.factors(), y: rows });
    else scaleRows(rows, this.factors().slice(begin, begin + rows.rows), context);
  }

  mergeBias(bias: Tensor, context: OpContext): void {
    if (this.scaling.side === 'output') ops.scaleColumns(context, { x: bias, factors: this.factors(), y: bias });
  }
}

const vector = (t: Tensor): Tensor => t.reshape([t.numElements]);
