import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import { type GradientSink, TileSink } from '../core/sink.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';
import type { Linear } from './linear.js';
import type { Projections } from './projections.js';
import type { RmsNorm } from './rms-norm.js';

/** The layers of a gated MLP sub-layer: y = x + [outputNorm](down(f(gate(n)) * up(n))), n = norm(x). */
export interface MlpLayers {
  norm: RmsNorm;
  gateUp: Projections;
  down: Linear;
  outputNorm: RmsNorm | undefined;
  /** gated_activation's `kind`. */
  kind: number;
}

/** Nothing of the MLP's width is kept: gate and up are made again in the backward pass. */
export interface TiledSaved {
  /** Input and 1/rms of the output norm, where there is one. */
  output: { x: Tensor; rstd: Tensor } | undefined;
}

/**
 * A gated MLP by tiles of `tileRows` rows, forward and backward (Arctic long sequence training, arXiv 2506.13996, section 3.2): what is as
 * wide as the MLP exists for one tile only. Outputs and input gradients have the bits of the whole, dropout included; weight
 * gradients are summed tile by tile, which rounds them elsewhere. A trained weight needs its whole gradient at once, where the sink keeps none.
 */
export function forwardTiled(
  { norm, gateUp, down, outputNorm, kind }: MlpLayers,
  tileRows: number,
  x: Tensor,
  y: Tensor | undefined,
  run: Run,
  keep: boolean,
): TiledSaved {
  if (!y && !outputNorm) return { output: undefined };
  const n = run.empty('mlp.norm', x.shape);
  norm.forward(x, n, undefined, run);
  const out = outputNorm ? run.empty('mlp.out', x.shape, run.dtype, keep ? 'saved' : 'transient') : (y as Tensor);
  eachTile(x.rows, tileRows, run, (begin, end) => {
    const made = gateUp.forward(n.slice(begin, end), run, false);
    const [gate, up] = made.parts as [Tensor, Tensor];
    const act = run.empty('mlp.act', [end - begin, down.inFeatures]);
    ops.gatedActivationForward(run, { gate, up, y: act, kind });
    run.free(...made.outputs);
    down.forward(act, out.slice(begin, end), run, false, outputNorm ? undefined : x.slice(begin, end));
    run.free(act);
  });
  run.free(n);
  if (!outputNorm) return { output: undefined };
  const rstd = keep ? run.saved('mlp.out.rstd', [x.rows], run.accumulator) : undefined;
  const normed = run.empty('mlp.out.norm', x.shape);
  outputNorm.forward(out, normed, rstd, run);
  if (y) ops.add(run, { a: normed, b: x, y });
  run.free(normed);
  if (keep) return { output: { x: out, rstd: rstd as Tensor } };
  run.free(out);
  return { output: undefined };
}

/** Turns d = dy into dx in place and frees saved. x is the sub-layer's input. */
export function backwardTiled(layers: MlpLayers, tileRows: number, d: Tensor, x: Tensor, saved: TiledSaved, run: Run): void {
  const { norm, outputNorm } = layers;
  const rstd = run.empty('mlp.rstd', [x.rows], run.accumulator);
  const n = run.empty('mlp.norm', x.shape);
  norm.forward(x, n, rstd, run);
  let dout = d;
  if (outputNorm && saved.output) {
    dout = run.empty('mlp.dout', x.shape);
    outputNorm.backward(d, saved.output.x, saved.output.rstd, dout, undefined, run);
    run.free(saved.output.rstd, saved.output.x);
  }
  const dn = run.empty('mlp.dnorm', x.shape);
  const tiles = (): void =>
    eachTile(x.rows, tileRows, run, (begin, end) =>
      backwardTile(layers, dout.slice(begin, end), n.slice(begin, end), dn.slice(begin, end), run),
    );
  if (run.sink) collect(trainable(layers), run.sink, run, tiles);
  else tiles();
  if (dout !== d) run.free(dout);
  norm.backward(dn, x, rstd, d, d, run);
  run.free(dn, n, rstd);
}

function backwardTile({ gateUp, down, kind }: MlpLayers, dout: Tensor, n: Tensor, dn: Tensor, run: Run): void {
  const made = gateUp.forward(n, run, true);
  const [gate, up] = made.parts as [Tensor, Tensor];
  const shape = [n.rows, down.inFeatures];
  let kept: unknown;
  if (down.adapter) {
    const act = run.empty('mlp.act', shape);
    ops.gatedActivationForward(run, { gate, up, y: act, kind });
    kept = down.forward(act, undefined, run, true);
    run.free(act);
  }
  const act = run.empty('mlp.dact', shape);
  down.backwardInput(dout, kept, act, run);
  // In place: gate, up and dact become dgate, dup and the activation itself, which down's weight gradient needs.
  ops.gatedActivationBackward(run, { dy: act, gate, up, dgate: gate, dup: up, y: act, kind });
  down.backwardWeight(dout, act, kept, run);
  run.free(act);
  gateUp.backwardInput(made.outputs, made, dn, run);
  if (gateUp.trains) gateUp.backwardWeight(made.outputs, n, made, run);
  run.free(...made.outputs);
}

function trainable({ gateUp, down }: MlpLayers): Parameter[] {
  return [...gateUp.parameters(), ...down.parameters()].filter((p) => p.trainable);
}

// Delivers the gradients of `parameters` once each, whole, after `body` has added to them tile by tile.
function collect(parameters: readonly Parameter[], sink: GradientSink, run: Run, body: () => void): void {
  const gradients = new Map<Parameter, Tensor>();
  const open = (at: number): void => {
    const p = parameters[at];
    if (!p) {
      run.withSink(new TileSink(gradients), body);
      return;
    }
    sink.vector(p, run, (gradient) => {
      if (gradient) gradients.set(p, gradient);
      open(at + 1);
    });
  };
  open(0);
}

// Tiles of equal size, none of a few rows only: their products are summed in another order. All take the same memory, that of the
// largest tile of any batch.
function eachTile(rows: number, tileRows: number, run: Run, body: (begin: number, end: number) => void): void {
  const tiles = run.dry ? 1 : Math.ceil(rows / tileRows);
  const begin = (i: number) => Math.ceil((i * rows) / tiles);
  run.repeat(tiles, (i) => {
    if (run.dry) body(0, Math.min(rows, tileRows));
    else run.atRow(begin(i), () => body(begin(i), begin(i + 1)));
  });
}
