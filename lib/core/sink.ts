import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';
import type { Parameter } from './parameter.js';
import type { Run } from './run.js';
import type { Tensor } from './tensor.js';

/** What the loss leaves behind for the gradient of the head's weight. */
export interface HeadGradient {
  /** [N, C] input of the head; targets, weights and lse [N]: linear_cross_entropy. */
  h: Tensor;
  targets: Tensor;
  weights: Tensor;
  lse: Tensor;
  /** [N, V] gradient of the logits, where the sink keeps it; else logits are made again. */
  dlogits: Tensor | undefined;
  softcap: number;
}

/** A weight gradient dW = scale * dy^T x for weight p [M, K], dy [N, M], but for x [N, K]. */
export interface WeightDelivery {
  p: Parameter;
  dy: Tensor;
  scale: number;
}

/**
 * Where weight gradients go. The one way up from layer to trainer: accumulated into a buffer, or consumed at once by the
 * optimizer. A layer calls it after it has made the input gradient with the old weight, since the weight may change here.
 * Every method ignores parameters that are not trainable.
 */
export interface GradientSink {
  /** dW = scale * dy^T x for weight [M, K], dy [N, M], x [N, K]. */
  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void;
  /** The same of up to three weights with one x. */
  weights(deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void;
  /** `weight`, and dx = dy W with the weight as it is before. dx [N, K]; made for every parameter. */
  weightAndInput(p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void;
  /** Gradient of a vector: `add` adds it to the f32 tensor it is given. */
  vector(p: Parameter, run: Run, add: (gradient: Tensor | undefined) => void): void;
  /** dW[ids[n]] += scale * dy[n]. */
  embedding(p: Parameter, ids: Tensor, dy: Tensor, scale: number, run: Run): void;
  /** Buffer the loss op adds the head's gradient to; undefined when there is none. */
  headBuffer(p: Parameter, run: Run): Tensor | undefined;
  /** Called once the buffer of headBuffer holds the gradient and the loss is known. */
  headDelivered(p: Parameter, run: Run): void;
  /** Whether `head` wants the gradient of the logits [N, V], instead of forming it again. The same for every batch of a run. */
  keepsLogitGradient(p: Parameter): boolean;
  /** Called after the loss where headBuffer gave nothing. Returns true if it keeps the tensors until finish. */
  head(p: Parameter, gradient: HeadGradient, run: Run): boolean;
  /** Ends a micro-batch. @throws ERR_INTERNAL unless every trainable parameter was delivered exactly `uses` times */
  finish(run: Run): void;
}

/** `weights` of a sink that gains nothing by making them at once. */
export function eachWeight(sink: GradientSink, deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void {
  for (const { p, dy, scale } of deliveries) sink.weight(p, dy, x, scale, run);
}

/** Adds gradients of weights that share x into buffers, over what is there unless `fresh`. */
export function backwardWeightsInto(
  targets: readonly { dy: Tensor; scale: number; dweight: Tensor; fresh: boolean }[],
  x: Tensor,
  run: Run,
): void {
  const [t0, t1, t2] = targets;
  if (!t0) return;
  const accumulate = (t: typeof t1) => (t && !t.fresh ? 1 : 0);
  if (!t1) {
    ops.linearBackwardWeight(run, { dy: t0.dy, x, dweight: t0.dweight, scale: t0.scale, accumulate: accumulate(t0) });
    return;
  }
  ops.linearBackwardWeightShared(run, {
    x,
    dy0: t0.dy,
    dweight0: t0.dweight,
    scale0: t0.scale,
    accumulate0: accumulate(t0),
    dy1: t1.dy,
    dweight1: t1.dweight,
    scale1: t1.scale,
    accumulate1: accumulate(t1),
    dy2: t2?.dy,
    dweight2: t2?.dweight,
    scale2: t2?.scale ?? 1,
    accumulate2: accumulate(t2),
  });
}

/** `weightAndInput` of a sink that gains nothing by making both at once. */
export function inputThenWeight(sink: GradientSink, p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void {
  ops.linearBackwardInput(run, { dy, weight: p.value, dx });
  sink.weight(p, dy, x, scale, run);
}

/** Adds what a tile of rows contributes to gradients that are delivered whole afterwards. */
export class TileSink implements GradientSink {
  private readonly gradients: ReadonlyMap<Parameter, Tensor>;

  constructor(gradients: ReadonlyMap<Parameter, Tensor>) {
    this.gradients = gradients;
  }

  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void {
    const dweight = this.gradients.get(p);
    if (dweight) ops.linearBackwardWeight(run, { dy, x, dweight, scale, accumulate: 1 });
  }

  weights(deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void {
    const targets = deliveries.flatMap(({ p, dy, scale }) => {
      const dweight = this.gradients.get(p);
      return dweight ? [{ dy, scale, dweight, fresh: false }] : [];
    });
    backwardWeightsInto(targets, x, run);
  }

  weightAndInput(p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void {
    const dweight = this.gradients.get(p);
    if (dweight) ops.linearBackward(run, { dy, weight: p.value, x, dx, dweight, scale, accumulate: 1 });
    else ops.linearBackwardInput(run, { dy, weight: p.value, dx });
  }

  vector(p: Parameter, _run: Run, add: (gradient: Tensor | undefined) => void): void {
    add(this.gradients.get(p));
  }

  embedding(p: Parameter): never {
    throw notTiled(p);
  }
  headBuffer(p: Parameter): never {
    throw notTiled(p);
  }
  headDelivered(p: Parameter): never {
    throw notTiled(p);
  }
  keepsLogitGradient(): boolean {
    return false;
  }
  head(p: Parameter): never {
    throw notTiled(p);
  }
  finish(): void {}
}

function notTiled(p: Parameter): FinetuneError {
  return new FinetuneError('ERR_INTERNAL', `${p.name} is no weight of a layer that runs in tiles`);
}

/** Counts deliveries: every trainable parameter must arrive exactly as often as it is used. */
export class DeliveryCount {
  private readonly counts = new Map<Parameter, number>();

  /** Number of this delivery, from 1. */
  add(p: Parameter): number {
    const n = (this.counts.get(p) ?? 0) + 1;
    this.counts.set(p, n);
    return n;
  }

  /** Names of the parameters with a wrong count; starts over. */
  wrong(parameters: Iterable<Parameter>): string[] {
    const wrong: string[] = [];
    for (const p of parameters) {
      const n = this.counts.get(p) ?? 0;
      if (n !== p.uses) wrong.push(`${p.name} (${n} of ${p.uses})`);
    }
    this.counts.clear();
    return wrong;
  }
}
