import type { DType, FloatType } from '../core/dtype.js';
import { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import { Tensor } from '../core/tensor.js';
import type { AdapterTail, ColumnScaling, Linear } from '../layers/linear.js';
import type { OpContext } from '../native/call.js';
import * as ops from '../native/ops.js';
import { peftPrefix } from './adapter-tensors.js';
import { LoraAdapter, type LoraSaved, loraNames } from './lora-adapter.js';
import type { FrozenParameter, TrainedParameter } from './method.js';
import { scaleRows } from './scale-rows.js';

/** Name of a layer's magnitudes as peft stores them. */
export const magnitudeName = (base: Linear): string => `${peftPrefix}${base.path}.lora_magnitude_vector`;

interface DoraSaved extends LoraSaved {
  /** [M] magnitude / norm, and 1 / norm, of this pass. */
  factors: Tensor;
  inverseNorms: Tensor | undefined;
  /** [N, M] output before the factors, kept for backward. */
  unscaled: Tensor | undefined;
  /** [N, M] dy times the factors, made by backwardInput. */
  inner: Tensor | undefined;
}

const squareChunk = 2 ** 20;

/**
 * DoRA on one linear layer (Liu et al. 2024, arXiv 2402.09353): y = g * (x W^T + s u B^T) + b with u = x A^T and
 * g = magnitude / |W + s B A| by rows, whose norm is a constant to the gradient (section 4.3).
 *   dmagnitude = sum over rows of dy * (x W^T + s u B^T) / norm; everything else is LoRA's with g * dy for dy
 * The norm is made from A W^T [R, M], A A^T and the squares of W's rows, which never change: no W + s B A exists.
 */
export class DoraAdapter extends LoraAdapter {
  /** [M] */
  readonly magnitude: Parameter;
  /** [M] squares of the rows of W; undefined where the factors are fixed. */
  private squares: Parameter | undefined;
  /** [M], where nothing trains. */
  private fixed: Parameter | undefined;
  private readonly base: Linear;
  readonly scaling: ColumnScaling = { side: 'output', includesBias: false };

  private constructor(base: Linear, a: Parameter, b: Parameter, magnitude: Parameter, scale: number) {
    super(a, b, scale, 0);
    this.base = base;
    this.magnitude = magnitude;
  }

  /** An adapter for a layer whose tensors have no memory yet. */
  static override create(base: Linear, options: { rank: number; scale: number; dtype: FloatType }): DoraAdapter {
    const names = loraNames(base);
    const parameter = (name: string, shape: number[]) => {
      const p = new Parameter(name, Tensor.dry(options.dtype, shape, name));
      p.trainable = true;
      return p;
    };
    const a = parameter(names.a, [options.rank, base.inFeatures]);
    const b = parameter(names.b, [base.outFeatures, options.rank]);
    return new DoraAdapter(base, a, b, parameter(magnitudeName(base), [base.outFeatures]), options.scale);
  }

  override *parameters(): Iterable<Parameter> {
    yield* super.parameters();
    yield this.magnitude;
    if (this.squares) yield this.squares;
    if (this.fixed) yield this.fixed;
  }

  /** The magnitudes start as the norms of W's rows: the layer is unchanged at first. */
  initialMagnitude(dtype: FloatType): TrainedParameter {
    return { parameter: this.magnitude, dtype, initialize: (y, context) => rowNorms(this.base.weight.value, y, context) };
  }

  squaresOfWeight(dtype: FloatType): FrozenParameter {
    const name = `${this.base.path}.row_squares`;
    this.squares = new Parameter(name, Tensor.dry(dtype, [this.base.outFeatures], name));
    return { parameter: this.squares, dtype, initialize: (y, context) => rowSquares(this.base.weight.value, y, context) };
  }

  /** For a layer that does not train: its factors, once and for all. */
  fixedFactors(dtype: FloatType): FrozenParameter {
    const name = `${this.base.path}.dora_factors`;
    this.fixed = new Parameter(name, Tensor.dry(dtype, [this.base.outFeatures], name));
    return { parameter: this.fixed, dtype, initialize: (y, context) => this.factorsFor(y, context) };
  }

  override forwardTails(peers: readonly DoraAdapter[], x: Tensor, keep: boolean, run: Run): AdapterTail[] {
    const role = keep ? 'saved' : 'transient';
    return super.forwardTails(peers, x, keep, run).map(({ tail, saved }, i) => {
      const p = peers[i] as DoraAdapter;
      const { fixed } = p;
      const make = (name: string) => run.empty(name, [p.base.outFeatures], run.accumulator, role);
      const factors = fixed?.value ?? make('dora.factors');
      const inverseNorms = fixed ? undefined : make('dora.inverse_norms');
      if (inverseNorms) p.factorsOfPass(factors, inverseNorms, run);
      return { tail, saved: { ...(saved as LoraSaved), factors, inverseNorms, unscaled: undefined, inner: undefined } satisfies DoraSaved };
    });
  }

  keepUnscaled(saved: DoraSaved, y: Tensor): void {
    saved.unscaled = y;
  }

  factors(saved: DoraSaved): Tensor {
    return saved.factors;
  }

  innerGradient(dy: Tensor, saved: DoraSaved, _wantsInput: boolean, run: Run): Tensor {
    saved.inner = run.empty('dora.dy', [dy.rows, dy.cols]);
    ops.scaleColumns(run, { x: dy, factors: saved.factors, y: saved.inner });
    return saved.inner;
  }

  override backwardWeights(peers: readonly DoraAdapter[], dys: readonly Tensor[], x: Tensor, saved: readonly DoraSaved[], run: Run): void {
    super.backwardWeights(peers, dys, x, saved, run);
    peers.forEach((p, i) => {
      const own = saved[i] as DoraSaved;
      const operands = { a: dys[i] as Tensor, b: own.unscaled as Tensor, factors: own.inverseNorms };
      run.sink?.vector(p.magnitude, run, (gradient) => gradient && ops.columnDot(run, { ...operands, out: gradient }));
      p.release(own, run);
    });
  }

  override discard(saved: DoraSaved | undefined, run: Run): void {
    super.discard(saved, run);
    if (saved) this.release(saved, run);
  }

  override mergeRows(rows: Tensor, begin: number, context: OpContext): void {
    super.mergeRows(rows, begin, context);
    const factors = Tensor.allocate('f32', [this.base.outFeatures], 'other', 'factors');
    const diagonal = (this.fixed?.value ?? factors).slice(begin, begin + rows.rows);
    try {
      if (!this.fixed) this.factorsFor(factors, context);
      scaleRows(rows, diagonal, context);
    } finally {
      factors.dispose();
    }
  }

  private release(saved: DoraSaved, run: Run): void {
    run.free(saved.inner, saved.unscaled, saved.inverseNorms, this.fixed ? undefined : saved.factors);
  }

  private factorsOfPass(factors: Tensor, inverseNorms: Tensor, run: Run): void {
    const { rank, base } = this;
    const type = run.accumulator;
    const wa = run.empty('dora.wa', [rank, base.outFeatures], type);
    const aa = run.empty('dora.aa', [rank, rank], type);
    this.factorsInto({ wa, aa, factors, inverseNorms, squares: (this.squares as Parameter).value }, run);
    run.free(wa, aa);
  }

  // Outside a run, with memory of its own.
  private factorsFor(factors: Tensor, context: OpContext): void {
    const { rank, base } = this;
    const made: Tensor[] = [];
    const make = (shape: number[]) => made[made.push(Tensor.allocate(factors.dtype, shape, 'other', 'dora')) - 1] as Tensor;
    try {
      const m = base.outFeatures;
      const squares = this.squares?.value ?? make([m]);
      if (!this.squares) rowSquares(base.weight.value, squares, context);
      this.factorsInto({ wa: make([rank, m]), aa: make([rank, rank]), factors, inverseNorms: make([m]), squares }, context);
    } finally {
      for (const t of made) t.dispose();
    }
  }

  private factorsInto(
    { wa, aa, ...rest }: { wa: Tensor; aa: Tensor; factors: Tensor; inverseNorms: Tensor; squares: Tensor },
    context: OpContext,
  ): void {
    const [a, b] = [this.a.value, this.b.value];
    ops.linearForward(context, { x: a, weight: this.base.weight.value, y: wa });
    ops.linearForward(context, { x: a, weight: a, y: aa });
    ops.doraFactors(context, { magnitude: this.magnitude.value, wa, b, aa, ...rest, scale: this.scale });
  }
}

/** out [M] = the squares of the rows of w [M, K], of any storage type, by chunks of rows. */
function rowSquares(w: Tensor, out: Tensor, context: OpContext): void {
  const [rows, cols] = w.shape as [number, number];
  const step = Math.max(1, Math.min(rows, Math.floor(squareChunk / cols)));
  const chunk = Tensor.allocate(out.dtype, [step, cols], 'other', 'rows');
  try {
    for (let begin = 0; begin < rows; begin += step) {
      const end = Math.min(rows, begin + step);
      const x = chunk.slice(0, end - begin);
      ops.cast(context, { x: w.slice(begin, end), y: x });
      ops.rowSquares(context, { x, out: out.slice(begin, end) });
    }
  } finally {
    chunk.dispose();
  }
}

// The norm without a change is squares / sqrt(squares): dora_factors of an adapter of zeros.
function rowNorms(w: Tensor, out: Tensor, context: OpContext): void {
  const m = w.rows;
  const made: Tensor[] = [];
  const make = (shape: number[], dtype: DType = out.dtype) => {
    const t = Tensor.allocate(dtype, shape, 'other', 'norms');
    made.push(t);
    return t;
  };
  try {
    const squares = make([m]);
    rowSquares(w, squares, context);
    const zeros = { wa: make([1, m]), b: make([m, 1]), aa: make([1, 1]) };
    for (const y of Object.values(zeros)) ops.fill(context, { y, value: 0 });
    ops.doraFactors(context, { magnitude: squares, squares, ...zeros, factors: out, inverseNorms: make([m]) });
  } finally {
    for (const t of made) t.dispose();
  }
}
