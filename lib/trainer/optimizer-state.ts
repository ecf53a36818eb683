import { release, type Segment } from '../core/memory.js';
import type { Parameter } from '../core/parameter.js';
import { nameStream, randomKey } from '../core/rng.js';
import type { Run } from '../core/run.js';
import type { Placement } from '../core/scratch.js';
import type { Tensor } from '../core/tensor.js';
import { layOut } from '../core/tensor-block.js';
import * as ops from '../native/ops.js';
import type { Optimizer, UpdateContext, UpdateRule } from '../optimizers/optimizer.js';

/** An optimizer with its state tensors for a fixed list of parameters, all in one allocation. */
export class OptimizerState {
  readonly optimizer: Optimizer;
  /** Names and tensors in a fixed order, for checkpoints. */
  readonly named: { name: string; tensor: Tensor }[];
  private readonly segment: Segment;
  private readonly byParameter = new Map<Parameter, Tensor[]>();
  private readonly seed: number;
  private readonly stochasticRounding: boolean;
  /** [1] f64: sum of the squares of the gradients of the step, where the norm is to be known afterwards. */
  private readonly gradSquares: Tensor | undefined;
  private step = 0;
  private learningRate = 0;
  private gradScale = 1;

  constructor(
    optimizer: Optimizer,
    parameters: readonly Parameter[],
    options: { seed: number; stochasticRounding: boolean; memory: Placement; tracksNorm?: boolean },
  ) {
    this.optimizer = optimizer;
    this.seed = options.seed;
    this.stochasticRounding = options.stochasticRounding;
    const specs = parameters.flatMap((p) => optimizer.states(p).map((spec) => ({ p, spec })));
    const named = specs.map(({ p, spec }) => ({ ...spec, name: `${p.name}.${spec.name}` }));
    const norm = { name: 'gradients.sum_of_squares', dtype: 'f64' as const, shape: [1] };
    const { segment, tensors } = layOut(options.tracksNorm ? [...named, norm] : named, options.memory);
    this.segment = segment;
    this.named = tensors.map((tensor) => ({ name: tensor.name, tensor }));
    this.gradSquares = tensors[named.length];
    for (const p of parameters) this.byParameter.set(p, []);
    specs.forEach(({ p }, i) => this.byParameter.get(p)?.push(tensors[i] as Tensor));
  }

  get bytes(): number {
    return this.segment.bytes;
  }

  /** Sets what the updates of the coming step use. step counts from 1. */
  begin(step: number, learningRate: number, gradScale = 1): void {
    this.step = step;
    this.learningRate = learningRate;
    this.gradScale = gradScale;
  }

  /** The native rule of p in the current step; undefined where its update needs the whole gradient. */
  rule(p: Parameter): UpdateRule | undefined {
    const rule = this.optimizer.rule(p, this.tensors(p), this.context(p));
    return rule && this.gradSquares ? { ...rule, gradSquares: this.gradSquares } : rule;
  }

  /** Updates p with its whole gradient. */
  update(p: Parameter, grad: Tensor, run: Run): void {
    const rule = this.rule(p);
    if (rule) {
      ops.optimizerUpdate(run, { weight: p.value, grad, ...rule });
      return;
    }
    if (this.gradSquares) ops.sumOfSquares(run, { x: grad, out: this.gradSquares });
    this.optimizer.update?.(run, p, grad, this.tensors(p), this.context(p));
  }

  /** Norm of the gradients since the last resetNorm; 0 before the first step. */
  norm(): number {
    return Math.sqrt(this.gradSquares?.read()[0] ?? 0);
  }

  resetNorm(): void {
    this.gradSquares?.write([0]);
  }

  dispose(): void {
    release(this.segment);
  }

  private tensors(p: Parameter): readonly Tensor[] {
    return this.byParameter.get(p) ?? [];
  }

  private context(p: Parameter): UpdateContext {
    const { step, learningRate, gradScale, stochasticRounding } = this;
    const stream = nameStream(p.name);
    const [seed, parameterSeed] = [randomKey(this.seed, step, stream), randomKey(this.seed, stream)];
    return { step, learningRate, gradScale, seed, parameterSeed, stochasticRounding };
  }
}
