import { release, type Segment } from '../core/memory.js';
import type { Parameter } from '../core/parameter.js';
import { nameStream, randomKey } from '../core/rng.js';
import type { Tensor } from '../core/tensor.js';
import { layOut } from '../core/tensor-block.js';
import type { Optimizer, UpdateRule } from '../optimizers/optimizer.js';

/** An optimizer with its state tensors for a fixed list of parameters, all in one allocation. */
export class OptimizerState {
  readonly optimizer: Optimizer;
  /** Names and tensors in a fixed order, for checkpoints. */
  readonly named: { name: string; tensor: Tensor }[];
  private readonly segment: Segment;
  private readonly byParameter = new Map<Parameter, Tensor[]>();
  private readonly seed: number;
  private readonly stochasticRounding: boolean;
  private step = 0;
  private learningRate = 0;
  private gradScale = 1;

  constructor(
    optimizer: Optimizer,
    parameters: readonly Parameter[],
    options: { seed: number; stochasticRounding: boolean; dry: boolean },
  ) {
    this.optimizer = optimizer;
    this.seed = options.seed;
    this.stochasticRounding = options.stochasticRounding;
    const specs = parameters.flatMap((p) => optimizer.states(p).map((spec) => ({ p, spec })));
    const named = specs.map(({ p, spec }) => ({ ...spec, name: `${p.name}.${spec.name}` }));
    const { segment, tensors } = layOut(named, options.dry ? 'dry' : 'optimizer');
    this.segment = segment;
    this.named = tensors.map((tensor) => ({ name: tensor.name, tensor }));
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

  /** The update rule of p in the current step. */
  rule(p: Parameter): UpdateRule {
    return this.optimizer.rule(p, this.byParameter.get(p) ?? [], {
      step: this.step,
      learningRate: this.learningRate,
      gradScale: this.gradScale,
      seed: randomKey(this.seed, this.step, nameStream(p.name)),
      stochasticRounding: this.stochasticRounding,
    });
  }

  dispose(): void {
    release(this.segment);
  }
}
