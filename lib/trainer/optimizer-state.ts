import { allocate, drySegment, release, type Segment } from '../core/memory.js';
import type { Parameter } from '../core/parameter.js';
import { nameStream, randomKey } from '../core/rng.js';
import { bytesOfShape, Tensor } from '../core/tensor.js';
import type { Optimizer, UpdateRule } from '../optimizers/optimizer.js';

/** Rounds up so that every tensor of a segment starts on a cache line. */
const aligned = (bytes: number) => Math.ceil(bytes / 64) * 64;

/** An optimizer with its state tensors for a fixed list of parameters, all in one allocation. */
export class OptimizerState {
  readonly optimizer: Optimizer;
  /** Names and tensors in a fixed order, for checkpoints. */
  readonly named: { name: string; tensor: Tensor }[] = [];
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
    const bytes = specs.reduce((sum, { spec }) => sum + aligned(bytesOfShape(spec.dtype, spec.shape)), 0);
    this.segment = options.dry || bytes === 0 ? { id: drySegment, bytes } : allocate(bytes, 'optimizer');
    let offset = 0;
    for (const p of parameters) this.byParameter.set(p, []);
    for (const { p, spec } of specs) {
      const tensor = new Tensor(this.segment, offset, spec.dtype, spec.shape, `${p.name}.${spec.name}`);
      offset += aligned(tensor.bytes);
      this.byParameter.get(p)?.push(tensor);
      this.named.push({ name: tensor.name, tensor });
    }
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
