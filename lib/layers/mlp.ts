import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import * as ops from '../native/ops.js';
import type { Linear } from './linear.js';
import type { ProjectionSaved, Projections } from './projections.js';
import type { RmsNorm } from './rms-norm.js';
import { backwardTiled, forwardTiled, type MlpLayers, type TiledSaved } from './tiled-mlp.js';

/** Values of gated_activation's `kind`. */
export const activationKinds = { silu: 0, gelu_tanh: 1, gelu: 2 } as const;

/** What backward needs: of the whole, or of a run in tiles. */
export type MlpSaved = WholeSaved | { tiled: TiledSaved };

interface WholeSaved {
  rstd: Tensor;
  gateUp: ProjectionSaved;
  down: unknown;
  /** Input and 1/rms of the output norm, where there is one. */
  output: { x: Tensor; rstd: Tensor } | undefined;
}

/** Gated MLP sub-layer with its norms and residual: y = x + [norm](down(f(gate(n)) * up(n))), n = norm(x). */
export class Mlp implements Module {
  private readonly norm: RmsNorm;
  private readonly gateUp: Projections;
  private readonly down: Linear;
  private readonly outputNorm: RmsNorm | undefined;
  private readonly kind: number;
  private readonly features: number;

  constructor(options: {
    norm: RmsNorm;
    gateUp: Projections;
    down: Linear;
    outputNorm: RmsNorm | undefined;
    activation: keyof typeof activationKinds;
  }) {
    this.norm = options.norm;
    this.gateUp = options.gateUp;
    this.down = options.down;
    this.outputNorm = options.outputNorm;
    this.kind = activationKinds[options.activation];
    this.features = options.down.inFeatures;
  }

  *parameters(): Iterable<Parameter> {
    yield* this.norm.parameters();
    yield* this.gateUp.parameters();
    yield* this.down.parameters();
    if (this.outputNorm) yield* this.outputNorm.parameters();
  }
  *linears(): Iterable<Linear> {
    yield* this.gateUp.layers();
    yield this.down;
  }

  /**
   * Writes y = x + mlp(x), in tiles of rows where the run says so. y may be left out only with keep, to save the last product during
   * recomputation.
   */
  forward(x: Tensor, y: Tensor | undefined, run: Run, keep: boolean): MlpSaved | undefined {
    if (run.mlpTileRows === undefined) return this.forwardWhole(x, y, run, keep);
    const tiled = forwardTiled(this.layers(), run.mlpTileRows, x, y, run, keep);
    return keep ? { tiled } : undefined;
  }

  private layers(): MlpLayers {
    const { norm, gateUp, down, outputNorm, kind } = this;
    return { norm, gateUp, down, outputNorm, kind };
  }

  private forwardWhole(x: Tensor, y: Tensor | undefined, run: Run, keep: boolean): WholeSaved | undefined {
    const rows = x.rows;
    const rstd = keep ? run.saved('mlp.rstd', [rows], run.accumulator) : undefined;
    const n = run.empty('mlp.norm', x.shape);
    this.norm.forward(x, n, rstd, run);
    const gateUp = this.gateUp.forward(n, run, keep);
    run.free(n);
    const [gate, up] = gateUp.parts as [Tensor, Tensor];

    let down: unknown;
    let output: WholeSaved['output'];
    // The low-rank part of an adapted `down` and the output norm's input are needed by backward even when y is not.
    if (y || this.down.adapter || this.outputNorm) {
      const act = run.empty('mlp.act', [rows, this.features]);
      ops.gatedActivationForward(run, { gate, up, y: act, kind: this.kind });
      if (!keep) this.gateUp.discard(gateUp, run);
      if (this.outputNorm) {
        const o = run.empty('mlp.out', x.shape, run.dtype, keep ? 'saved' : 'transient');
        down = this.down.forward(act, o, run, keep);
        const ornstd = keep ? run.saved('mlp.out.rstd', [rows], run.accumulator) : undefined;
        const normed = run.empty('mlp.out.norm', x.shape);
        this.outputNorm.forward(o, normed, ornstd, run);
        if (y) ops.add(run, { a: normed, b: x, y });
        run.free(normed);
        if (keep) output = { x: o, rstd: ornstd as Tensor };
        else run.free(o);
      } else {
        down = this.down.forward(act, y, run, keep, x);
      }
      run.free(act);
    }
    return keep ? { rstd: rstd as Tensor, gateUp, down, output } : undefined;
  }

  /** Turns d = dy into dx in place and frees saved. x is the sub-layer's input. */
  backward(d: Tensor, x: Tensor, saved: MlpSaved, run: Run): void {
    if ('tiled' in saved) backwardTiled(this.layers(), run.mlpTileRows as number, d, x, saved.tiled, run);
    else this.backwardWhole(d, x, saved, run);
  }

  private backwardWhole(d: Tensor, x: Tensor, saved: WholeSaved, run: Run): void {
    const rows = x.rows;
    const [gate, up] = saved.gateUp.parts as [Tensor, Tensor];
    let dout = d;
    if (this.outputNorm && saved.output) {
      dout = run.empty('mlp.dout', x.shape);
      this.outputNorm.backward(d, saved.output.x, saved.output.rstd, dout, undefined, run);
      run.free(saved.output.rstd, saved.output.x);
    }
    const act = run.empty('mlp.dact', [rows, this.features]);
    this.down.backwardInput(dout, saved.down, act, run);
    // In place: gate, up and dact become dgate, dup and the activation itself, which down's weight gradient needs.
    ops.gatedActivationBackward(run, { dy: act, gate, up, dgate: gate, dup: up, y: act, kind: this.kind });
    this.down.backwardWeight(dout, act, saved.down, run);
    run.free(act);
    if (dout !== d) run.free(dout);

    const dn = run.empty('mlp.dnorm', x.shape);
    this.gateUp.backwardInput(saved.gateUp.outputs, saved.gateUp, dn, run);
    if (this.gateUp.trains) {
      const n = run.empty('mlp.norm', x.shape);
      this.norm.forward(x, n, undefined, run);
      this.gateUp.backwardWeight(saved.gateUp.outputs, n, saved.gateUp, run);
      run.free(n);
    }
    run.free(...saved.gateUp.outputs);
    this.norm.backward(dn, x, saved.rstd, d, d, run);
    run.free(dn, saved.rstd);
  }
}
