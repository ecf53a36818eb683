import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import { type GradientSink, type HeadGradient, inputThenWeight, type WeightDelivery } from '../core/sink.js';
import type { Tensor } from '../core/tensor.js';

/** Hands every parameter to the sink that takes it. */
export class SplitSink implements GradientSink {
  private readonly routes: ReadonlyMap<Parameter, GradientSink>;

  constructor(parts: readonly { sink: GradientSink; parameters: readonly Parameter[] }[]) {
    this.routes = new Map(parts.flatMap(({ sink, parameters }) => parameters.map((p) => [p, sink] as const)));
  }

  weight(p: Parameter, dy: Tensor, x: Tensor, scale: number, run: Run): void {
    this.routes.get(p)?.weight(p, dy, x, scale, run);
  }
  weights(deliveries: readonly WeightDelivery[], x: Tensor, run: Run): void {
    for (const sink of new Set(deliveries.map(({ p }) => this.routes.get(p)))) {
      sink?.weights(
        deliveries.filter(({ p }) => this.routes.get(p) === sink),
        x,
        run,
      );
    }
  }
  weightAndInput(p: Parameter, dy: Tensor, x: Tensor, scale: number, dx: Tensor, run: Run): void {
    const sink = this.routes.get(p);
    if (sink) sink.weightAndInput(p, dy, x, scale, dx, run);
    else inputThenWeight(this, p, dy, x, scale, dx, run);
  }
  vector(p: Parameter, run: Run, add: (gradient: Tensor | undefined) => void): void {
    const sink = this.routes.get(p);
    if (sink) sink.vector(p, run, add);
    else add(undefined);
  }
  embedding(p: Parameter, ids: Tensor, dy: Tensor, scale: number, run: Run): void {
    this.routes.get(p)?.embedding(p, ids, dy, scale, run);
  }
  headBuffer(p: Parameter, run: Run): Tensor | undefined {
    return this.routes.get(p)?.headBuffer(p, run);
  }
  headDelivered(p: Parameter, run: Run): void {
    this.routes.get(p)?.headDelivered(p, run);
  }
  keepsLogitGradient(p: Parameter): boolean {
    return this.routes.get(p)?.keepsLogitGradient(p) ?? false;
  }
  head(p: Parameter, gradient: HeadGradient, run: Run): boolean {
    return this.routes.get(p)?.head(p, gradient, run) ?? false;
  }
  finish(run: Run): void {
    for (const sink of new Set(this.routes.values())) sink.finish(run);
  }
}
