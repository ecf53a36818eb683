import type { FloatType } from '../core/dtype.js';
import { Parameter } from '../core/parameter.js';
import { nameStream } from '../core/rng.js';
import type { Run } from '../core/run.js';
import type { WeightDelivery } from '../core/sink.js';
import { Tensor } from '../core/tensor.js';
import type { AdapterTail, Linear, LinearAdapter, LowRankTail } from '../layers/linear.js';
import { forwardProducts } from '../layers/shared-input.js';
import type { OpContext } from '../native/call.js';
import * as ops from '../native/ops.js';
import { peftPrefix } from './adapter-tensors.js';

/** Tensor names of a layer's adapter as peft stores them. */
export function loraNames(base: Linear): { a: string; b: string } {
  const prefix = `${peftPrefix}${base.path}`;
  return { a: `${prefix}.lora_A.weight`, b: `${prefix}.lora_B.weight` };
}

/** s = alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski 2023, arXiv 2312.03732). */
export function loraScale(alpha: number, rank: number, useRslora: boolean): number {
  return useRslora ? alpha / Math.sqrt(rank) : alpha / rank;
}

export interface LoraSaved {
  /** [N, R] = dropout(x) A^T */
  u: Tensor;
  /** [N, R] = dy B, made by backwardTail with dB, for backwardWeights. */
  t: Tensor | undefined;
}

/**
 * LoRA on one linear layer (Hu et al. 2021, arXiv 2106.09685): y = x W^T + s * (dropout(x) A^T) B^T, W frozen.
 * The tail runs inside the frozen product (R more columns of its inner dimension). s = alpha / r, or alpha / sqrt(r) with
 * rsLoRA (Kalajdzievski 2023, arXiv 2312.03732).
 *   dB = s dy^T u;  t = dy B;  dA = s t^T dropout(x);  dx = dy W + dropout'(s t A)
 */
export class LoraAdapter implements LinearAdapter {
  /** [R, K] */
  readonly a: Parameter;
  /** [M, R] */
  readonly b: Parameter;
  readonly scale: number;
  readonly dropout: number;
  private readonly stream: number;

  constructor(a: Parameter, b: Parameter, scale: number, dropout: number) {
    this.a = a;
    this.b = b;
    this.scale = scale;
    this.dropout = dropout;
    this.stream = nameStream(a.name);
  }

  /** An adapter for a layer whose tensors have no memory yet. */
  static create(base: Linear, options: { rank: number; scale: number; dropout: number; dtype: FloatType }): LoraAdapter {
    const parameter = (name: string, shape: number[]) => new Parameter(name, Tensor.dry(options.dtype, shape, name));
    const names = loraNames(base);
    const a = parameter(names.a, [options.rank, base.inFeatures]);
    const b = parameter(names.b, [base.outFeatures, options.rank]);
    for (const p of [a, b]) p.trainable = true;
    return new LoraAdapter(a, b, options.scale, options.dropout);
  }

  get rank(): number {
    return this.a.shape[0] as number;
  }

  *parameters(): Iterable<Parameter> {
    yield this.a;
    yield this.b;
  }

  forwardTails(peers: readonly LoraAdapter[], x: Tensor, keep: boolean, run: Run): AdapterTail[] {
    const role = keep ? 'saved' : 'transient';
    const us = peers.map((p) => run.empty('lora.u', [x.rows, p.rank], run.dtype, role));
    const product = (i: number) => ({ weight: (peers[i] as LoraAdapter).a.value, bias: undefined, tail: undefined, y: us[i] as Tensor });
    const plain: number[] = [];
    peers.forEach((p, i) => {
      const xd = p.dropped(x, run);
      if (xd) forwardProducts(xd, [product(i)], run);
      else plain.push(i);
      run.free(xd);
    });
    forwardProducts(x, plain.map(product), run);
    return peers.map((p, i) => {
      const u = us[i] as Tensor;
      return { tail: { x: u, weight: p.b.value, scale: p.scale }, saved: { u, t: undefined } satisfies LoraSaved };
    });
  }

  backwardTail(dy: Tensor, saved: LoraSaved, wantsInput: boolean, run: Run): LowRankTail | undefined {
    const t = run.empty('lora.t', saved.u.shape);
    if (run.sink) run.sink.weightAndInput(this.b, dy, saved.u, this.scale, t, run);
    else ops.linearBackwardInput(run, { dy, weight: this.b.value, dx: t });
    saved.t = t;
    return wantsInput && !this.drops(run) ? { x: t, weight: this.a.value, scale: this.scale } : undefined;
  }

  finishInput(saved: LoraSaved, dx: Tensor, run: Run): void {
    if (!this.drops(run)) return;
    const d = run.empty('lora.dxd', dx.shape);
    ops.linearBackwardInput(run, { dy: saved.t as Tensor, weight: this.a.value, dx: d });
    ops.scale(run, { x: d, y: d, scale: this.scale });
    ops.dropout(run, { x: d, residual: dx, y: dx, ...this.mask(run) });
    run.free(d);
  }

  backwardWeights(peers: readonly LoraAdapter[], _dys: readonly Tensor[], x: Tensor, saved: readonly LoraSaved[], run: Run): void {
    const delivery = (p: LoraAdapter, i: number) => ({ p: p.a, dy: saved[i]?.t as Tensor, scale: p.scale });
    const plain: WeightDelivery[] = [];
    peers.forEach((p, i) => {
      const xd = p.a.trainable ? p.dropped(x, run) : undefined;
      if (xd) run.sink?.weights([delivery(p, i)], xd, run);
      else plain.push(delivery(p, i));
      run.free(xd);
    });
    run.sink?.weights(plain, x, run);
    for (const { t, u } of saved) run.free(t, u);
  }

  discard(saved: LoraSaved | undefined, run: Run): void {
    run.free(saved?.t, saved?.u);
  }

  mergeRows(rows: Tensor, begin: number, context: OpContext): void {
    const b = this.b.value.slice(begin, begin + rows.rows);
    const scaled = Tensor.allocate('f32', b.shape, 'other', 'scaled B');
    const change = Tensor.allocate('f32', rows.shape, 'other', 'change');
    try {
      ops.scale(context, { x: b, y: scaled, scale: this.scale });
      ops.linearBackwardInput(context, { dy: scaled, weight: this.a.value, dx: change });
      ops.add(context, { a: rows, b: change, y: rows });
    } finally {
      scaled.dispose();
      change.dispose();
    }
  }

  // Only where gradients are asked for: evaluation and generation see the adapter without dropout.
  private drops(run: Run): boolean {
    return this.dropout > 0 && run.sink !== undefined;
  }

  // The same for a row whether it is at work alone or with all others.
  private mask(run: Run) {
    return { p: this.dropout, seed: run.randomKey(this.stream), firstRow: run.firstRow };
  }

  private dropped(x: Tensor, run: Run): Tensor | undefined {
    if (!this.drops(run)) return undefined;
    const y = run.empty('lora.xd', x.shape);
    ops.dropout(run, { x, y, ...this.mask(run) });
    return y;
  }
}
