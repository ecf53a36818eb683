import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';
import type { AdapterTail, ColumnScaling, Linear, LinearAdapter, ScalingSteps } from './linear.js';
import { forwardProducts, type SharedGradient, type SharedProduct, sumInputGradients } from './shared-input.js';

type Scaled = LinearAdapter & ScalingSteps & { scaling: ColumnScaling };

/** Whether the layer's adapter has factors on columns. */
export const isScaled = ({ adapter }: Linear): boolean => adapter?.scaling !== undefined;

const scaledOn = ({ adapter }: Linear, side: ColumnScaling['side']): Scaled | undefined =>
  adapter?.scaling?.side === side ? (adapter as Scaled) : undefined;

/**
 * Forward of layers that read the same x, some of them with column factors. Factors on outputs are applied after the shared product; a layer
 * with factors on its input has an input of its own and runs alone. residual: for one layer only.
 */
export function forwardScaled(
  linears: readonly Linear[],
  tails: readonly (AdapterTail | undefined)[],
  x: Tensor,
  ys: readonly (Tensor | undefined)[],
  keep: boolean,
  run: Run,
  residual?: Tensor,
): void {
  const products: SharedProduct[] = [];
  const scalings: (() => void)[] = [];
  linears.forEach((linear, i) => {
    const y = ys[i];
    const tailed = tails[i];
    const output = scaledOn(linear, 'output');
    if (scaledOn(linear, 'input')) {
      if (y) forwardScaledInput(linear, tailed?.saved, x, y, run, residual);
    } else if (output) {
      if (!y && !keep) return;
      const { includesBias } = output.scaling;
      const bias = linear.bias?.value;
      // The gradient of the factors needs the output without them.
      const unscaled = keep || !y ? run.saved('linear.unscaled', [x.rows, linear.outFeatures]) : y;
      products.push({ weight: linear.weight.value, bias: includesBias ? bias : undefined, tail: tailed?.tail, y: unscaled });
      const factors = output.factors(tailed?.saved);
      if (y) scalings.push(() => ops.scaleColumns(run, { x: unscaled, factors, bias: includesBias ? undefined : bias, residual, y }));
      if (keep) output.keepUnscaled(tailed?.saved, unscaled);
    } else if (y) products.push({ weight: linear.weight.value, bias: linear.bias?.value, tail: tailed?.tail, y });
  });
  forwardProducts(x, products, run);
  for (const apply of scalings) apply();
}

function forwardScaledInput(linear: Linear, saved: unknown, x: Tensor, y: Tensor, run: Run, residual?: Tensor): void {
  const scaled = run.empty('linear.scaled', [x.rows, x.cols]);
  ops.scaleColumns(run, { x, factors: (scaledOn(linear, 'input') as Scaled).factors(saved), y: scaled });
  ops.linearForward(run, { x: scaled, weight: linear.weight.value, bias: linear.bias?.value, residual, y });
  run.free(scaled);
}

/** As backwardInputs of linear.ts, for layers of which some have column factors. */
export function backwardScaled(
  linears: readonly Linear[],
  dys: readonly Tensor[],
  saved: readonly unknown[],
  dx: Tensor | undefined,
  run: Run,
): void {
  const together: SharedGradient[] = [];
  linears.forEach((linear, i) => {
    const dy = dys[i] as Tensor;
    if (scaledOn(linear, 'input')) return;
    const inner = scaledOn(linear, 'output')?.innerGradient(dy, saved[i], dx !== undefined, run) ?? dy;
    const tail = linear.adapter?.backwardTail(inner, saved[i], dx !== undefined, run);
    together.push({ dy: inner, weight: linear.weight.value, tail });
  });
  if (dx) {
    sumInputGradients(together, dx, run);
    linears.forEach((linear, i) => {
      if (!scaledOn(linear, 'input')) linear.adapter?.finishInput(saved[i], dx, run);
    });
  }
  let begun = together.length > 0;
  linears.forEach((linear, i) => {
    const input = scaledOn(linear, 'input');
    if (!input) return;
    const dy = dys[i] as Tensor;
    // Needed for the gradient of the factors, also where nobody wants dx.
    const g = run.empty('linear.dscaled', [dy.rows, linear.inFeatures]);
    ops.linearBackwardInput(run, { dy, weight: linear.weight.value, dx: g });
    if (dx) ops.scaleColumns(run, { x: g, factors: input.factors(saved[i]), residual: begun ? dx : undefined, y: dx });
    begun = true;
    input.keepUnscaled(saved[i], g);
  });
}
