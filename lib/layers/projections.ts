import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { backwardInputs, backwardWeights, forwardShared, type Linear } from './linear.js';
import { maxShared } from './shared-input.js';

/** Outputs of projections that share one input. */
export interface ProjectionSaved {
  /** One tensor per linear layer. */
  outputs: Tensor[];
  /** One per logical part, e.g. q, k, v: an output itself, or columns of the fused one. */
  parts: Tensor[];
  linears: unknown[];
}

/**
 * Several linear layers that read the same input (q, k, v; gate, up), stored apart (Llama) or as one fused matrix (Phi-3).
 * Either way the parts are seen as separate tensors with strided rows.
 */
export class Projections implements Module {
  private readonly linears: readonly Linear[];
  private readonly widths: readonly number[];
  private readonly name: string;

  /** widths: columns of each part. With one linear and several widths, the linear is fused. */
  constructor(name: string, linears: readonly Linear[], widths: readonly number[]) {
    if (linears.length > maxShared) throw new FinetuneError('ERR_INTERNAL', `${name}: at most ${maxShared} layers share an input`);
    this.name = name;
    this.linears = linears;
    this.widths = widths;
  }

  *parameters(): Iterable<Parameter> {
    for (const l of this.linears) yield* l.parameters();
  }
  *layers(): Iterable<Linear> {
    yield* this.linears;
  }
  get trains(): boolean {
    return this.linears.some((l) => l.trains);
  }

  forward(x: Tensor, run: Run, keep: boolean): ProjectionSaved {
    const role = keep ? 'saved' : 'transient';
    const outputs = this.linears.map((l) => run.empty(`${this.name}.y`, [x.rows, l.outFeatures], run.dtype, role));
    const linears = forwardShared(this.linears, x, outputs, keep, run);
    return { outputs, parts: this.split(outputs), linears };
  }

  /** Fresh tensors shaped like the outputs, for their gradients. */
  emptyLike(saved: ProjectionSaved, run: Run): { outputs: Tensor[]; parts: Tensor[] } {
    const outputs = saved.outputs.map((o) => run.empty(`${this.name}.dy`, o.shape));
    return { outputs, parts: this.split(outputs) };
  }

  /** dx = sum over the layers of dy W. */
  backwardInput(dys: readonly Tensor[], saved: ProjectionSaved, dx: Tensor | undefined, run: Run): void {
    backwardInputs(this.linears, dys, saved.linears, dx, run);
  }

  backwardWeight(dys: readonly Tensor[], x: Tensor, saved: ProjectionSaved, run: Run): void {
    backwardWeights(this.linears, dys, x, saved.linears, run);
  }

  discard(saved: ProjectionSaved, run: Run): void {
    this.linears.forEach((l, i) => l.discard(saved.linears[i], run));
    run.free(...saved.outputs);
  }

  private split(outputs: Tensor[]): Tensor[] {
    if (outputs.length === this.widths.length) return outputs;
    const fused = outputs[0] as Tensor;
    let begin = 0;
    return this.widths.map((w, i) => {
      begin += w;
      return fused.columns(begin - w, begin, `${this.name}.${i}`);
    });
  }
}
