import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';
import type { LowRankTail } from './linear.js';

/** Layers that one product serves. */
export const maxShared = 3;

/** One of the products that read the same x. */
export interface SharedProduct {
  /** [M, K] */
  weight: Tensor;
  /** [M] */
  bias: Tensor | undefined;
  tail: LowRankTail | undefined;
  /** [N, M] */
  y: Tensor;
}

/** y = x weight^T [+ bias] [+ tail] of up to three layers. x [N, K] is read once. */
export function forwardProducts(x: Tensor, products: readonly SharedProduct[], run: Run): void {
  const [p0, p1, p2] = products;
  if (!p0) return;
  if (!p1) {
    const { weight, bias, tail, y } = p0;
    ops.linearForward(run, { x, weight, bias, tailX: tail?.x, tailWeight: tail?.weight, tailScale: tail?.scale ?? 1, y });
    return;
  }
  ops.linearForwardShared(run, {
    x,
    weight0: p0.weight,
    bias0: p0.bias,
    tailX0: p0.tail?.x,
    tailWeight0: p0.tail?.weight,
    tailScale0: p0.tail?.scale ?? 1,
    y0: p0.y,
    weight1: p1.weight,
    bias1: p1.bias,
    tailX1: p1.tail?.x,
    tailWeight1: p1.tail?.weight,
    tailScale1: p1.tail?.scale ?? 1,
    y1: p1.y,
    weight2: p2?.weight,
    bias2: p2?.bias,
    tailX2: p2?.tail?.x,
    tailWeight2: p2?.tail?.weight,
    tailScale2: p2?.tail?.scale ?? 1,
    y2: p2?.y,
  });
}

/** One of the products that add up to an input gradient. */
export interface SharedGradient {
  /** [N, M] */
  dy: Tensor;
  /** [M, K] */
  weight: Tensor;
  tail: LowRankTail | undefined;
}

/** dx [N, K] = the sum of dy weight [+ tail] over up to three layers, rounded once. */
export function sumInputGradients(gradients: readonly SharedGradient[], dx: Tensor, run: Run): void {
  const [g0, g1, g2] = gradients;
  if (!g0) return;
  if (!g1) {
    const { dy, weight, tail } = g0;
    ops.linearBackwardInput(run, { dy, weight, tailDy: tail?.x, tailWeight: tail?.weight, tailScale: tail?.scale ?? 1, dx });
    return;
  }
  ops.linearBackwardInputShared(run, {
    dy0: g0.dy,
    weight0: g0.weight,
    tailDy0: g0.tail?.x,
    tailWeight0: g0.tail?.weight,
    tailScale0: g0.tail?.scale ?? 1,
    dy1: g1.dy,
    weight1: g1.weight,
    tailDy1: g1.tail?.x,
    tailWeight1: g1.tail?.weight,
    tailScale1: g1.tail?.scale ?? 1,
    dy2: g2?.dy,
    weight2: g2?.weight,
    tailDy2: g2?.tail?.x,
    tailWeight2: g2?.tail?.weight,
    tailScale2: g2?.tail?.scale ?? 1,
    dx,
  });
}
