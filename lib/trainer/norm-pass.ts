import { release, type Segment } from '../core/memory.js';
import type { Parameter } from '../core/parameter.js';
import type { GradientSink } from '../core/sink.js';
import type { Tensor } from '../core/tensor.js';
import { layOut } from '../core/tensor-block.js';
import * as ops from '../native/ops.js';
import { WholeGradientSink } from './whole-gradient-sink.js';

/** A backward pass that changes nothing and leaves the global norm of the gradients (LOMO's first pass, arXiv 2306.09782, 3.3.1). */
export class NormPass {
  private current: GradientSink;
  private readonly segment: Segment;
  private readonly squares: Tensor;

  constructor(parameters: readonly Parameter[], dry: boolean) {
    const { segment, tensors } = layOut([{ name: 'gradients.sum_of_squares', dtype: 'f64', shape: [1] }], dry ? 'dry' : 'gradients');
    this.segment = segment;
    this.squares = tensors[0] as Tensor;
    this.current = this.over(parameters);
  }

  get sink(): GradientSink {
    return this.current;
  }

  /** Takes the gradients of these parameters from now on. */
  activate(parameters: readonly Parameter[]): void {
    this.current = this.over(parameters);
  }

  get bytes(): number {
    return this.segment.bytes;
  }

  begin(): void {
    this.squares.write([0]);
  }

  read(): number {
    return Math.sqrt(this.squares.read()[0] as number);
  }

  private over(parameters: readonly Parameter[]): GradientSink {
    return new WholeGradientSink(parameters, (_p, gradient, run) => ops.sumOfSquares(run, { x: gradient, out: this.squares }));
  }

  dispose(): void {
    release(this.segment);
  }
}
