import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';
import type { Linear } from './linear.js';
import type { ProjectionSaved, Projections } from './projections.js';
import type { RmsNorm } from './rms-norm.js';

/** Rotary table of the tokens at hand, [N, R] each. */
export interface RopeTable {
  cos: Tensor;
  sin: Tensor;
}

/** Which rows are which sequence, and their rotary tables (one per RopeConfig). */
export interface Sequences {
  cuQ: Tensor;
  cuK: Tensor;
  /** Place of each row in its sequence, [N] i32. */
  positions: Tensor;
  ropes: RopeTable[];
}

/** Keys and values of one sequence in one layer, row by position, for generation. */
export interface KeyValueCache {
  /** [capacity, kvHeads * D] */
  k: Tensor;
  v: Tensor;
}

export interface AttentionSaved {
  rstd: Tensor;
  /** q, k, v after norm and rotation. */
  qkv: ProjectionSaved;
  /** q and k before their norm, and its 1/rms, where there is one. */
  unnormed: { q: Tensor; k: Tensor; qRstd: Tensor; kRstd: Tensor } | undefined;
  o: Tensor;
  lse: Tensor;
  out: unknown;
  output: { x: Tensor; rstd: Tensor } | undefined;
}

export interface AttentionOptions {
  norm: RmsNorm;
  qkv: Projections;
  out: Linear;
  qNorm: RmsNorm | undefined;
  kNorm: RmsNorm | undefined;
  outputNorm: RmsNorm | undefined;
  heads: number;
  kvHeads: number;
  headDim: number;
  scale: number;
  softcap: number;
  window: number;
  /** Index into Sequences.ropes. */
  rope: number;
}

/** Attention sub-layer with its norms and residual: y = x + [norm](o_proj(attention(rope(q), rope(k), v))), q, k, v of norm(x). */
export class Attention implements Module {
  private readonly o: AttentionOptions;

  constructor(options: AttentionOptions) {
    this.o = options;
  }

  *parameters(): Iterable<Parameter> {
    const { norm, qkv, out, qNorm, kNorm, outputNorm } = this.o;
    yield* norm.parameters();
    yield* qkv.parameters();
    for (const m of [qNorm, kNorm]) if (m) yield* m.parameters();
    yield* out.parameters();
    if (outputNorm) yield* outputNorm.parameters();
  }
  *linears(): Iterable<Linear> {
    yield* this.o.qkv.layers();
    yield this.o.out;
  }

  /** Writes y = x + attention(x). With a cache, k and v are put in it and attended to there. */
  forward(x: Tensor, y: Tensor, sequences: Sequences, run: Run, keep: boolean, cache?: KeyValueCache): AttentionSaved | undefined {
    const { o } = this;
    const rows = x.rows;
    const role = keep ? 'saved' : 'transient';
    const rstd = keep ? run.saved('attention.rstd', [rows], run.accumulator) : undefined;
    const n = run.empty('attention.norm', x.shape);
    o.norm.forward(x, n, rstd, run);
    const qkv = o.qkv.forward(n, run, keep);
    run.free(n);
    let [q, k, v] = qkv.parts as [Tensor, Tensor, Tensor];

    let unnormed: AttentionSaved['unnormed'];
    if (o.qNorm && o.kNorm) {
      const qRstd = keep ? run.saved('attention.q.rstd', [rows * o.heads], run.accumulator) : undefined;
      const kRstd = keep ? run.saved('attention.k.rstd', [rows * o.kvHeads], run.accumulator) : undefined;
      const qn = run.empty('attention.q.norm', q.shape, run.dtype, role);
      const kn = run.empty('attention.k.norm', k.shape, run.dtype, role);
      this.headNorm(o.qNorm, q, qn, qRstd, o.heads, run);
      this.headNorm(o.kNorm, k, kn, kRstd, o.kvHeads, run);
      unnormed = { q, k, qRstd: qRstd as Tensor, kRstd: kRstd as Tensor };
      [q, k] = [qn, kn];
    }
    this.rotate(q, k, sequences, 0, run);

    if (cache) {
      ops.indexCopy(run, { x: k, index: sequences.positions, y: cache.k });
      ops.indexCopy(run, { x: v, index: sequences.positions, y: cache.v });
    }
    const attended = run.empty('attention.o', [rows, o.heads * o.headDim], run.dtype, role);
    const lse = keep ? run.saved('attention.lse', [rows, o.heads], run.accumulator) : undefined;
    ops.attentionForward(run, {
      q,
      k: cache?.k ?? k,
      v: cache?.v ?? v,
      cuQ: sequences.cuQ,
      cuK: sequences.cuK,
      o: attended,
      lse,
      ...this.shape(),
    });
    if (!keep) {
      if (unnormed) run.free(q, k);
      o.qkv.discard(qkv, run);
    }

    let output: AttentionSaved['output'];
    let out: unknown;
    if (o.outputNorm) {
      const projected = run.empty('attention.out', x.shape, run.dtype, role);
      out = o.out.forward(attended, projected, run, keep);
      const outRstd = keep ? run.saved('attention.out.rstd', [rows], run.accumulator) : undefined;
      const normed = run.empty('attention.out.norm', x.shape);
      o.outputNorm.forward(projected, normed, outRstd, run);
      ops.add(run, { a: normed, b: x, y });
      run.free(normed);
      if (keep) output = { x: projected, rstd: outRstd as Tensor };
      else run.free(projected);
    } else {
      out = o.out.forward(attended, y, run, keep, x);
    }
    if (!keep) {
      run.free(attended);
      return undefined;
    }
    const rotated: ProjectionSaved = unnormed ? { ...qkv, parts: [q, k, v] } : qkv;
    return { rstd: rstd as Tensor, qkv: rotated, unnormed, o: attended, lse: lse as Tensor, out, output };
  }

  /** Turns d = dy into dx in place and frees saved. Without wantsInput d is left as it is after the weight gradients. */
  backward(d: Tensor, x: Tensor, saved: AttentionSaved, sequences: Sequences, run: Run, wantsInput: boolean): void {
    const { o } = this;
    let dout = d;
    if (o.outputNorm && saved.output) {
      dout = run.empty('attention.dout', x.shape);
      o.outputNorm.backward(d, saved.output.x, saved.output.rstd, dout, undefined, run);
      run.free(saved.output.rstd, saved.output.x);
    }
    const dattended = run.empty('attention.do', saved.o.shape);
    o.out.backwardInput(dout, saved.out, dattended, run);
    o.out.backwardWeight(dout, saved.o, saved.out, run);
    if (dout !== d) run.free(dout);

    const [q, k, v] = saved.qkv.parts as [Tensor, Tensor, Tensor];
    const gradient = o.qkv.emptyLike(saved.qkv, run);
    const [dq, dk, dv] = gradient.parts as [Tensor, Tensor, Tensor];
    ops.attentionBackward(run, {
      dout: dattended,
      q,
      k,
      v,
      o: saved.o,
      lse: saved.lse,
      cuQ: sequences.cuQ,
      cuK: sequences.cuK,
      dq,
      dk,
      dv,
      ...this.shape(),
    });
    run.free(dattended, saved.lse, saved.o);
    this.rotate(dq, dk, sequences, 1, run);
    const { unnormed } = saved;
    if (unnormed && o.qNorm && o.kNorm) {
      this.headNormBackward(o.qNorm, dq, unnormed.q, unnormed.qRstd, o.heads, run);
      this.headNormBackward(o.kNorm, dk, unnormed.k, unnormed.kRstd, o.kvHeads, run);
      run.free(unnormed.qRstd, unnormed.kRstd, q, k);
    }
    run.free(...saved.qkv.outputs);

    // Below the lowest trained layer nothing asks for dx; the norm's weight still does if it is trained.
    const needsNorm = wantsInput || o.norm.weight.trainable;
    const dn = needsNorm ? run.empty('attention.dnorm', x.shape) : undefined;
    o.qkv.backwardInput(gradient.outputs, saved.qkv, dn, run);
    if (o.qkv.trains) {
      const n = run.empty('attention.norm', x.shape);
      o.norm.forward(x, n, undefined, run);
      o.qkv.backwardWeight(gradient.outputs, n, saved.qkv, run);
      run.free(n);
    }
    run.free(...gradient.outputs);
    if (dn) {
      o.norm.backward(dn, x, saved.rstd, d, d, run);
      run.free(dn);
    }
    run.free(saved.rstd);
  }

  private shape(): { heads: number; kvHeads: number; window: number; scale: number; softcap: number } {
    const { heads, kvHeads, window, scale, softcap } = this.o;
    return { heads, kvHeads, window, scale, softcap };
  }

  private rotate(q: Tensor, k: Tensor, sequences: Sequences, inverse: 0 | 1, run: Run): void {
    const { cos, sin } = sequences.ropes[this.o.rope] as RopeTable;
    ops.ropeInplace(run, { x: q, cos, sin, heads: this.o.heads, inverse });
    ops.ropeInplace(run, { x: k, cos, sin, heads: this.o.kvHeads, inverse });
  }

  // One row per head: the norm runs over headDim. q and k are contiguous here, since no family fuses them and norms them.
  private headNorm(norm: RmsNorm, x: Tensor, y: Tensor, rstd: Tensor | undefined, heads: number, run: Run): void {
    const shape = [x.rows * heads, this.o.headDim];
    norm.forward(x.reshape(shape), y.reshape(shape), rstd, run);
  }

  private headNormBackward(norm: RmsNorm, d: Tensor, x: Tensor, rstd: Tensor, heads: number, run: Run): void {
    const shape = [x.rows * heads, this.o.headDim];
    const rows = d.reshape(shape);
    norm.backward(rows, x.reshape(shape), rstd, rows, undefined, run);
  }
}
