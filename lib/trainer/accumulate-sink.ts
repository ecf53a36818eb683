import { release, type Segment } from '../core/memory.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Placement } from '../core/scratch.js';
import { backwardWeightsInto, DeliveryCount, type GradientSink, type WeightDelivery } from '../core/sink.js';
import type { Tensor } from '../core/tensor.js';
import { layOut, layOutIn, type TensorSpec } from '../core/tensor-block.js';
import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';
import type { OptimizerState } from './optimizer-state.js';

/** Adds gradients over the micro-batches of a step into buffers; apply() updates the weights at its end. */
export class AccumulateSink implements GradientSink {
  private readonly segment: Segment;
  private readonly accumulator: 'f32' | 'f64';
  private buffers = new Map<Parameter, Tensor>();
  /** Buffers that hold something of this step; the others contain garbage of the last one. */
  private readonly started = new Set<Parameter>();
  private readonly deliveries = new DeliveryCount();
  private readonly normSum: Tensor;

  /** With memory for the gradients of `parameters`, which are taken until `activate` says otherwise. */
  constructor(parameters: readonly Parameter[], accumulator: 'f32' | 'f64', memory: Placement) {
    this.accumulator = accumulator;
    const { segment, tensors } = layOut(this.specs(parameters), memory);
    this.segment = segment;
    this.normSum = tensors[0] as Tensor;
    this.activate(parameters);
  }

  /** Takes the gradients of these parameters from now on, in the memory that is there. */
  activate(parameters: readonly Parameter[]): void {
    const [, ...tensors] = layOutIn(this.segment, this.specs(parameters));
    this.buffers = new Map(parameters.map((p, i) => [p, tensors[i] as Tensor]));
  }

  get bytes(): number {
    return this.segment.bytes;
  }

  /** Starts an optimizer step: the next delivery of each parameter overwrites. */
  begin(): void {
    this.started.clear();
  }

  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void {
    this.weights([{ p, dy, scale }], x, run);
  }

  weights(deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void {
    const targets = deliveries.flatMap(({ p, dy, scale }) => {
      const dweight = this.buffers.get(p);
      if (!dweight) return [];
      this.deliveries.add(p);
      return [{ dy, scale, dweight, fresh: this.start(p) }];
    });
    backwardWeightsInto(targets, x, run);
  }

  weightAndInput(p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void {
    const dweight = this.buffers.get(p);
    if (!dweight) {
      ops.linearBackwardInput(run, { dy, weight: p.value, dx });
      return;
    }
    this.deliveries.add(p);
    ops.linearBackward(run, { dy, weight: p.value, x, dx, dweight, scale, accumulate: this.start(p) ? 0 : 1 });
  }

  vector(p: Parameter, run: Run, add: (gradient: Tensor | undefined) => void): void {
    add(this.zeroed(p, run));
  }

  embedding(p: Parameter, ids: Tensor, dy: Tensor, scale: number, run: Run): void {
    const dweight = this.zeroed(p, run);
    if (dweight) ops.embeddingBackward(run, { ids, dy, dweight, scale });
  }

  headBuffer(p: Parameter, run: Run): Tensor | undefined {
    return this.zeroed(p, run);
  }

  headDelivered(): void {}

  keepsLogitGradient(): boolean {
    return false;
  }

  head(): boolean {
    return false;
  }

  finish(): void {
    const wrong = this.deliveries.wrong(this.buffers.keys());
    if (wrong.length > 0) throw new FinetuneError('ERR_INTERNAL', `gradients were not delivered as often as used: ${wrong.join(', ')}`);
  }

  /** Global L2 norm of the accumulated gradients. Reads one number from the device. */
  norm(run: Run): number {
    if (!run.dry) this.normSum.write([0]);
    for (const b of this.buffers.values()) ops.sumOfSquares(run, { x: b, out: this.normSum });
    run.flush();
    return run.dry ? 0 : Math.sqrt(this.normSum.read()[0] as number);
  }

  /** Updates every weight with its accumulated gradient. */
  apply(state: OptimizerState, run: Run): void {
    for (const [p, grad] of this.buffers) state.update(p, grad, run);
  }

  /** The accumulated gradient, for tests and gradient checks. */
  gradient(p: Parameter): Tensor | undefined {
    return this.buffers.get(p);
  }

  dispose(): void {
    release(this.segment);
  }

  private specs(parameters: readonly Parameter[]): (TensorSpec & { name: string })[] {
    const norm = { name: 'gradients.norm', dtype: 'f64' as const, shape: [1] };
    return [norm, ...parameters.map((p) => ({ name: `${p.name}.grad`, dtype: this.accumulator, shape: p.shape }))];
  }

  private start(p: Parameter): boolean {
    const fresh = !this.started.has(p);
    this.started.add(p);
    return fresh;
  }

  // For gradients that ops can only add to.
  private zeroed(p: Parameter, run: Run): Tensor | undefined {
    const buffer = this.buffers.get(p);
    if (!buffer) return undefined;
    this.deliveries.add(p);
    if (this.start(p)) ops.fill(run, { y: buffer, value: 0 });
    return buffer;
  }
}
