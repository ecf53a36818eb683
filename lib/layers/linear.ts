import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import type { OpContext } from '../native/call.js';
import * as ops from '../native/ops.js';
import { backwardScaled, forwardScaled, isScaled } from './scaled-linear.js';
import { forwardProducts, sumInputGradients } from './shared-input.js';

/** Extra columns of the inner dimension: y += scale * x weight^T, in the same pass over y. */
export interface LowRankTail {
  /** [N, R] */
  x: Tensor;
  /** [M, R] forward, [R, K] backward. */
  weight: Tensor;
  scale: number;
}

/** What a frozen product takes along, if anything, and what the adapter's backward will need. */
export interface AdapterTail {
  tail: LowRankTail | undefined;
  saved: unknown;
}

/** Factors on columns: y = f * (x W^T [+ tail]) + b or f * (x W^T + b), or y = (f * x) W^T + b. */
export interface ColumnScaling {
  side: 'input' | 'output';
  /** Of the output: whether the factors apply to the bias too. */
  includesBias: boolean;
}

/** What an adapter with column factors does besides: scaled-linear.ts calls it. */
export interface ScalingSteps {
  /** The factors of this pass, [K] or [M]. */
  factors(saved: unknown): Tensor;
  /** Takes over, until backwardWeights, what the gradient of the factors is made with: [N, M] output without them, or [N, K] dy W. */
  keepUnscaled(saved: unknown, kept: Tensor): void;
  /** Of the output: dy [N, M] times the factors, kept in saved until backwardWeights. */
  innerGradient(dy: Tensor, saved: unknown, wantsInput: boolean, run: Run): Tensor;
}

/** A change of one linear layer that a tuning method plugs in. */
export interface LinearAdapter extends Partial<ScalingSteps> {
  /** Given by adapters with column factors, which then have ScalingSteps. */
  readonly scaling?: ColumnScaling | undefined;
  parameters(): Iterable<Parameter>;
  /** Tails of the layers of `peers`, adapters of this class that read the same x, this one among them; in their order. */
  forwardTails(peers: readonly LinearAdapter[], x: Tensor, keep: boolean, run: Run): AdapterTail[];
  /**
   * Tail of the input gradient; undefined where it is added by finishInput, or where nobody wants it (wantsInput = false). May deliver
   * gradients of what the input gradient does not need.
   */
  backwardTail(dy: Tensor, saved: unknown, wantsInput: boolean, run: Run): LowRankTail | undefined;
  /** Adds what is no tail to dx, after the frozen product. */
  finishInput(saved: unknown, dx: Tensor, run: Run): void;
  /** Delivers the other gradients of the adapters of `peers`, as for forwardTails, and frees what they saved. */
  backwardWeights(peers: readonly LinearAdapter[], dys: readonly Tensor[], x: Tensor, saved: readonly unknown[], run: Run): void;
  /** Frees saved without a backward. */
  discard(saved: unknown, run: Run): void;
  /** Changes rows begin, begin + 1, ... of W [n, K] f32 to what the layer computes with the adapter. */
  mergeRows(rows: Tensor, begin: number, context: OpContext): void;
  /** The same for the bias [M] f32, where the adapter changes it. */
  mergeBias?(bias: Tensor, context: OpContext): void;
}

/** y = x W^T + b with W [M, K] as stored in the checkpoint, in any storage format while frozen. */
export class Linear implements Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  adapter: LinearAdapter | undefined;

  constructor(weight: Parameter, bias?: Parameter) {
    this.weight = weight;
    this.bias = bias;
  }

  /** Module path as in the checkpoint, without `.weight`: what target patterns are matched against. */
  get path(): string {
    return this.weight.name.replace(/\.weight$/, '');
  }
  get inFeatures(): number {
    return this.weight.shape[1] as number;
  }
  get outFeatures(): number {
    return this.weight.shape[0] as number;
  }

  *parameters(): Iterable<Parameter> {
    yield this.weight;
    if (this.bias) yield this.bias;
    if (this.adapter) yield* this.adapter.parameters();
  }

  /** Whether its backward has weight gradients to make, and so needs its input x again. */
  get trains(): boolean {
    return this.weight.trainable || (this.bias?.trainable ?? false) || this.adapter !== undefined;
  }

  /** y [N, M] = x [N, K] W^T + b [+ residual]. Without y only what the adapter's backward needs is made. */
  forward(x: Tensor, y: Tensor | undefined, run: Run, keep: boolean, residual?: Tensor): unknown {
    const [tailed] = adapterTails([this], x, keep, run);
    const tail = tailed?.tail;
    if (this.adapter?.scaling) forwardScaled([this], [tailed], x, [y], keep, run, residual);
    else if (y)
      ops.linearForward(run, {
        x,
        weight: this.weight.value,
        bias: this.bias?.value,
        tailX: tail?.x,
        tailWeight: tail?.weight,
        tailScale: tail?.scale ?? 1,
        residual,
        y,
      });
    return keepTails([this], [tailed], keep, run)[0];
  }

  /** dx [N, K] = dy W. dx is left out where nothing below trains: then only the adapter's share is prepared. */
  backwardInput(dy: Tensor, saved: unknown, dx: Tensor | undefined, run: Run): void {
    backwardInputs([this], [dy], [saved], dx, run);
  }

  /** Delivers the weight gradients; after backwardInput, since W may change here. Frees saved. */
  backwardWeight(dy: Tensor, x: Tensor, saved: unknown, run: Run): void {
    backwardWeights([this], [dy], x, [saved], run);
  }

  /** Frees saved without a backward. */
  discard(saved: unknown, run: Run): void {
    this.adapter?.discard(saved, run);
  }
}

// Adapters of one class, which are asked together, and the places of their layers.
function adapterPeers(linears: readonly Linear[]): { peers: LinearAdapter[]; places: number[] }[] {
  const classes = new Map<unknown, { peers: LinearAdapter[]; places: number[] }>();
  linears.forEach(({ adapter }, place) => {
    if (!adapter) return;
    const group = classes.get(adapter.constructor) ?? { peers: [], places: [] };
    group.peers.push(adapter);
    group.places.push(place);
    classes.set(adapter.constructor, group);
  });
  return [...classes.values()];
}

function adapterTails(linears: readonly Linear[], x: Tensor, keep: boolean, run: Run): (AdapterTail | undefined)[] {
  const tails: (AdapterTail | undefined)[] = linears.map(() => undefined);
  for (const { peers, places } of adapterPeers(linears)) {
    const made = (peers[0] as LinearAdapter).forwardTails(peers, x, keep, run);
    places.forEach((place, n) => (tails[place] = made[n]));
  }
  return tails;
}

// What backward needs of the tails, after the products; without keep they are freed.
function keepTails(linears: readonly Linear[], tails: readonly (AdapterTail | undefined)[], keep: boolean, run: Run): unknown[] {
  if (keep) return tails.map((t) => t?.saved);
  linears.forEach((l, i) => l.discard(tails[i]?.saved, run));
  return linears.map(() => undefined);
}

/** ys[i] [N, Mi] = x Wi^T + bi of up to three layers in one product; returns what backwardInputs and backwardWeight need. */
export function forwardShared(linears: readonly Linear[], x: Tensor, ys: readonly Tensor[], keep: boolean, run: Run): unknown[] {
  const tails = adapterTails(linears, x, keep, run);
  if (linears.some(isScaled)) {
    forwardScaled(linears, tails, x, ys, keep, run);
    return keepTails(linears, tails, keep, run);
  }
  const products = linears.map((l, i) => ({ weight: l.weight.value, bias: l.bias?.value, tail: tails[i]?.tail, y: ys[i] as Tensor }));
  forwardProducts(x, products, run);
  return keepTails(linears, tails, keep, run);
}

/** dx [N, K] = the sum of dys[i] Wi over up to three layers that read the same input, in one product; see Linear.backwardInput. */
export function backwardInputs(
  linears: readonly Linear[],
  dys: readonly Tensor[],
  saved: readonly unknown[],
  dx: Tensor | undefined,
  run: Run,
): void {
  if (linears.some(isScaled)) {
    backwardScaled(linears, dys, saved, dx, run);
    return;
  }
  const tails = linears.map((l, i) => l.adapter?.backwardTail(dys[i] as Tensor, saved[i], dx !== undefined, run));
  if (!dx) return;
  const gradients = linears.map((l, i) => ({ dy: dys[i] as Tensor, weight: l.weight.value, tail: tails[i] }));
  sumInputGradients(gradients, dx, run);
  linears.forEach((l, i) => l.adapter?.finishInput(saved[i], dx, run));
}

/** Weight gradients of up to three layers that read the same input; see Linear.backwardWeight. */
export function backwardWeights(linears: readonly Linear[], dys: readonly Tensor[], x: Tensor, saved: readonly unknown[], run: Run): void {
  for (const { peers, places } of adapterPeers(linears)) {
    const at = <T>(all: readonly T[]) => places.map((place) => all[place] as T);
    (peers[0] as LinearAdapter).backwardWeights(peers, at(dys), x, at(saved), run);
  }
  const { sink } = run;
  if (!sink) return;
  linears.forEach(({ bias, weight }, i) => {
    const dy = dys[i] as Tensor;
    if (bias?.trainable) sink.vector(bias, run, (dbias) => dbias && ops.linearBackwardBias(run, { dy, dbias }));
    if (weight.trainable) sink.weight(weight, dy, x, 1, run);
  });
}
