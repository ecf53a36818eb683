import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';

/** RMS norm over the last dimension (Zhang & Sennrich 2019). Statistics in f32. */
export class RmsNorm implements Module {
  readonly weight: Parameter;
  readonly eps: number;
  /** 1 for Gemma, whose checkpoints store weight - 1. */
  readonly weightOffset: number;

  constructor(weight: Parameter, eps: number, weightOffset = 0) {
    this.weight = weight;
    this.eps = eps;
    this.weightOffset = weightOffset;
  }

  *parameters(): Iterable<Parameter> {
    yield this.weight;
  }

  /** y = norm(x); rstd, where given, receives 1 / rms of each row for backward. */
  forward(x: Tensor, y: Tensor, rstd: Tensor | undefined, run: Run): void {
    ops.rmsNormForward(run, { x, weight: this.weight.value, y, rstd, eps: this.eps, weightOffset: this.weightOffset });
  }

  /** dx = norm'(dy) [+ dresidual]; dx may alias dy or dresidual. Delivers the weight's gradient. */
  backward(dy: Tensor, x: Tensor, rstd: Tensor, dx: Tensor, dresidual: Tensor | undefined, run: Run): void {
    const apply = (dweight: Tensor | undefined) =>
      ops.rmsNormBackward(run, { dy, x, weight: this.weight.value, rstd, dresidual, dx, dweight, weightOffset: this.weightOffset });
    if (run.sink) run.sink.vector(this.weight, run, apply);
    else apply(undefined);
  }
}
