import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import { DeliveryCount, eachWeight, type GradientSink, type HeadGradient, inputThenWeight, type WeightDelivery } from '../core/sink.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';
import type { UpdateRule } from '../optimizers/optimizer.js';
import type { OptimizerState } from './optimizer-state.js';

/**
 * Consumes every gradient where it is made: the optimizer updates the weight in the epilogue of its gradient
 * (LOMO, Lv et al. 2023, arXiv 2306.09782), strip by strip, so that no gradient buffer exists.
 * For parameters with a native rule. One micro-batch per step: the weights have changed before the next could come.
 */
export class FusedSink implements GradientSink {
  private readonly state: OptimizerState;
  private readonly keepLogitGradient: boolean;
  private readonly trained: ReadonlySet<Parameter>;
  private readonly deliveries = new DeliveryCount();
  /** Head of a tied embedding: its gradient is formed with the embedding's, when nothing reads the old weight any more. */
  private deferred: { p: Parameter; gradient: HeadGradient } | undefined;

  constructor(parameters: readonly Parameter[], state: OptimizerState, options: { keepLogitGradient: boolean }) {
    this.state = state;
    this.keepLogitGradient = options.keepLogitGradient;
    this.trained = new Set(parameters);
  }

  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void {
    if (!this.trained.has(p)) return;
    this.deliveries.add(p);
    ops.linearBackwardWeightUpdate(run, { dy, x, weight: p.value, scale, ...this.rule(p) });
  }

  weights(deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void {
    eachWeight(this, deliveries, x, run);
  }

  weightAndInput(p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void {
    inputThenWeight(this, p, dy, x, scale, dx, run);
  }

  vector(p: Parameter, run: Run, add: (gradient: Tensor | undefined) => void): void {
    if (!this.trained.has(p)) {
      add(undefined);
      return;
    }
    this.deliveries.add(p);
    const grad = run.empty('vector.gradient', p.shape, run.accumulator);
    ops.fill(run, { y: grad, value: 0 });
    add(grad);
    this.state.update(p, grad, run);
    run.free(grad);
  }

  embedding(p: Parameter, ids: Tensor, dy: Tensor, scale: number, run: Run): void {
    if (!this.trained.has(p)) return;
    this.deliveries.add(p);
    const rule = this.rule(p);
    const { deferred } = this;
    if (deferred?.p === p) {
      const { h, lse, dlogits } = deferred.gradient;
      const tied = { ids, embeddingDy: dy, embeddingScale: scale };
      ops.linearCrossEntropyUpdate(run, { weight: p.value, ...deferred.gradient, ...tied, ...rule });
      run.free(h, lse, dlogits);
      this.deferred = undefined;
    } else {
      ops.embeddingUpdate(run, { ids, dy, weight: p.value, scale, ...rule });
    }
  }

  headBuffer(): undefined {
    return undefined;
  }

  headDelivered(): void {}

  keepsLogitGradient(p: Parameter): boolean {
    return this.keepLogitGradient && this.trained.has(p);
  }

  head(p: Parameter, gradient: HeadGradient, run: Run): boolean {
    if (!this.trained.has(p)) return false;
    this.deliveries.add(p);
    if (p.uses > 1) {
      this.deferred = { p, gradient };
      return true;
    }
    ops.linearCrossEntropyUpdate(run, { weight: p.value, ...gradient, ...this.rule(p) });
    return false;
  }

  private rule(p: Parameter): UpdateRule {
    return this.state.rule(p) as UpdateRule;
  }

  finish(): void {
    const wrong = this.deliveries.wrong(this.trained);
    if (wrong.length > 0) throw new FinetuneError('ERR_INTERNAL', `gradients were not delivered as often as used: ${wrong.join(', ')}`);
  }
}
