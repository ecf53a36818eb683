import type { Parameter } from '../core/parameter.js';
import type { Tensor } from '../core/tensor.js';
import { adamwSettings } from './adamw.js';
import type { OptimizerContext } from './definition.js';
import { decayOf, type StateSpec, type UpdateContext } from './optimizer.js';
import { eps, weightDecay } from './settings.js';
import { ElementStates, type StateDtype } from './state.js';

/** Settings of Adam on projected gradients, and of AdamW on the rest: defaults of GaLore's and APOLLO's published code. */
export const lowRankSettings = { ...adamwSettings, eps: eps(1e-6), weightDecay: weightDecay(0) };

export interface LowRankSettings {
  projectionRank: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  stateDtype: StateDtype;
}

/**
 * The moments of a gradient that is projected along its shorter side: native/ops/low_rank.h. A rank above that side is the side, as
 * in the published codes.
 */
export class LowRankMoments {
  private readonly settings: LowRankSettings;
  private readonly context: OptimizerContext;
  private readonly states: ElementStates;

  constructor(settings: LowRankSettings, context: OptimizerContext) {
    this.settings = settings;
    this.context = context;
    this.states = new ElementStates(['exp_avg', 'exp_avg_sq'], settings.stateDtype, context);
  }

  /** Length of the directions. */
  side({ shape }: Parameter): number {
    return Math.min(...shape);
  }

  rank(p: Parameter): number {
    return Math.min(this.settings.projectionRank, this.side(p));
  }

  specs(p: Parameter): StateSpec[] {
    return this.states.specs({ shape: this.shape(p) });
  }

  /** Arguments of the op that updates p by the tensors of `specs`, without its basis and scale. */
  arguments(p: Parameter, grad: Tensor, tensors: readonly Tensor[], step: UpdateContext) {
    const { beta1, beta2, eps, weightDecay } = this.settings;
    const { state0, state1, absmax0, absmax1, stateBits } = this.states.arguments({ shape: this.shape(p) }, tensors);
    return {
      weight: p.value,
      grad,
      state0: state0 as Tensor,
      state1: state1 as Tensor,
      absmax0,
      absmax1,
      stateBits: stateBits ?? 8,
      learningRate: step.learningRate,
      weightDecay: decayOf(p, weightDecay, this.context.weightDecayOn),
      gradScale: step.gradScale,
      beta1,
      beta2,
      eps,
      step: step.step,
      seed: step.seed,
      stochasticRounding: step.stochasticRounding ? 1 : 0,
      rank: this.rank(p),
    };
  }

  private shape(p: Parameter): number[] {
    const [rows = 1, cols = 1] = p.shape;
    return rows >= cols ? [rows, this.rank(p)] : [this.rank(p), cols];
  }
}
