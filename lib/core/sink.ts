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

/**
 * Where weight gradients go. The one way up from layer to trainer: accumulated into a buffer, or consumed at once by the
 * optimizer. A layer calls it after it has made the input gradient with the old weight, since the weight may change here.
 * Every method ignores parameters that are not trainable.
 */
export interface GradientSink {
  /** dW = scale * dy^T x for weight [M, K], dy [N, M], x [N, K]. */
  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void;
  /** The same, and dx = dy W with the weight as it is before. dx [N, K]; made for every parameter. */
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
