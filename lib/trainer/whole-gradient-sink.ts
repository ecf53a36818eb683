import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import { DeliveryCount, eachWeight, type GradientSink, type HeadGradient, inputThenWeight, type WeightDelivery } from '../core/sink.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';

/**
 * Forms every gradient whole, in memory of the arena that it gives back at once, and hands it to `consume`: for updates that need a
 * statistic of the whole matrix, and for norms. There is never more than one, so the largest sets the memory.
 */
export class WholeGradientSink implements GradientSink {
  private readonly trained: ReadonlySet<Parameter>;
  private readonly consume: (p: Parameter, gradient: Tensor, run: Run) => void;
  private readonly deliveries = new DeliveryCount();
  /** Buffer of an untied head, between the loss and headDelivered. */
  private headGradient: Tensor | undefined;
  /** Head of a tied embedding: its gradient is formed with the embedding's, when nothing reads the old weight any more. */
  private deferred: { p: Parameter; gradient: HeadGradient } | undefined;

  constructor(parameters: readonly Parameter[], consume: (p: Parameter, gradient: Tensor, run: Run) => void) {
    this.trained = new Set(parameters);
    this.consume = consume;
  }

  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void {
    if (!this.accept(p)) return;
    const dweight = run.empty('gradient', p.shape, run.accumulator);
    ops.linearBackwardWeight(run, { dy, x, dweight, scale });
    this.finishOne(p, dweight, run);
  }

  weights(deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void {
    eachWeight(this, deliveries, x, run);
  }

  weightAndInput(p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void {
    inputThenWeight(this, p, dy, x, scale, dx, run);
  }

  vector(p: Parameter, run: Run, add: (gradient: Tensor | undefined) => void): void {
    if (!this.accept(p)) {
      add(undefined);
      return;
    }
    const gradient = this.zeros(p, run);
    add(gradient);
    this.finishOne(p, gradient, run);
  }

  embedding(p: Parameter, ids: Tensor, dy: Tensor, scale: number, run: Run): void {
    if (!this.accept(p)) return;
    const dweight = this.zeros(p, run);
    const { deferred } = this;
    if (deferred?.p === p) {
      const { h, targets, weights, lse, dlogits, softcap } = deferred.gradient;
      // The loss is known already; the op adds it to a number of its own.
      const lossSum = run.empty('loss', [1], 'f64');
      ops.linearCrossEntropy(run, { h, weight: p.value, targets, weights, lossSum, dweight, softcap });
      run.free(lossSum, h, lse, dlogits);
      this.deferred = undefined;
    }
    ops.embeddingBackward(run, { ids, dy, dweight, scale });
    this.finishOne(p, dweight, run);
  }

  headBuffer(p: Parameter, run: Run): Tensor | undefined {
    if (!this.trained.has(p) || p.uses > 1) return undefined;
    this.deliveries.add(p);
    this.headGradient = this.zeros(p, run);
    return this.headGradient;
  }

  headDelivered(p: Parameter, run: Run): void {
    this.finishOne(p, this.headGradient as Tensor, run);
    this.headGradient = undefined;
  }

  keepsLogitGradient(): boolean {
    return false;
  }

  head(p: Parameter, gradient: HeadGradient): boolean {
    if (!this.accept(p)) return false;
    this.deferred = { p, gradient };
    return true;
  }

  finish(): void {
    const wrong = this.deliveries.wrong(this.trained);
    if (wrong.length > 0) throw new FinetuneError('ERR_INTERNAL', `gradients were not delivered as often as used: ${wrong.join(', ')}`);
  }

  private accept(p: Parameter): boolean {
    if (!this.trained.has(p)) return false;
    this.deliveries.add(p);
    return true;
  }

  // For gradients that ops can only add to.
  private zeros(p: Parameter, run: Run): Tensor {
    const gradient = run.empty('gradient', p.shape, run.accumulator);
    ops.fill(run, { y: gradient, value: 0 });
    return gradient;
  }

  private finishOne(p: Parameter, gradient: Tensor, run: Run): void {
    this.consume(p, gradient, run);
    run.free(gradient);
  }
}
