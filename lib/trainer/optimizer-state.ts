import { release, type Segment } from '../core/memory.js';
import type { Parameter } from '../core/parameter.js';
import { nameStream, randomKey } from '../core/rng.js';
import type { Run } from '../core/run.js';
import type { Placement } from '../core/scratch.js';
import type { Tensor } from '../core/tensor.js';
import { layOut, layOutIn } from '../core/tensor-block.js';
import * as ops from '../native/ops.js';
import type { ForwardStep, Optimizer, StateSpec, UpdateContext, UpdateRule } from '../optimizers/optimizer.js';
import { type ActiveSet, parametersOf } from './turns.js';

const zeros = new Uint8Array(2 ** 16);

/** An optimizer with its state tensors for the parameters that train now, all in one allocation. */
export class OptimizerState {
  readonly optimizer: Optimizer;
  private readonly segment: Segment;
  private byParameter = new Map<Parameter, Tensor[]>();
  /** Steps before the first one of a parameter's states. */
  private stepsBefore = new Map<Parameter, number>();
  private readonly seed: number;
  private readonly stochasticRounding: boolean;
  private readonly norms: readonly StateSpec[];
  /** [1] f64: sum of the squares of the gradients of the step, where the norm is to be known afterwards. */
  private readonly gradSquares: Tensor | undefined;
  private step = 0;
  private learningRate = 0;
  private gradScale = 1;

  /** With memory for `parameters`, which are active until `activate` says otherwise. */
  constructor(
    optimizer: Optimizer,
    parameters: readonly Parameter[],
    options: { seed: number; stochasticRounding: boolean; memory: Placement; tracksNorm?: boolean },
  ) {
    this.optimizer = optimizer;
    this.seed = options.seed;
    this.stochasticRounding = options.stochasticRounding;
    this.norms = options.tracksNorm ? [{ name: 'gradients.sum_of_squares', dtype: 'f64', shape: [1] }] : [];
    const { segment, tensors } = layOut([...this.norms, ...this.specs(parameters)], options.memory);
    this.segment = segment;
    this.gradSquares = options.tracksNorm ? tensors[0] : undefined;
    this.activate({ always: parameters, turning: [], firstStep: 1 });
  }

  /** Names and tensors of the active parameters in a fixed order, for checkpoints. */
  get named(): { name: string; tensor: Tensor }[] {
    const tensors = [...(this.gradSquares ? [this.gradSquares] : []), ...[...this.byParameter.values()].flat()];
    return tensors.map((tensor) => ({ name: tensor.name, tensor }));
  }

  /** Lays out the states of what trains from now on, in the memory that is there. Those of `always` keep their place and value. */
  activate(set: ActiveSet): void {
    const parameters = parametersOf(set);
    const tensors = layOutIn(this.segment, [...this.norms, ...this.specs(parameters)]).slice(this.norms.length);
    this.byParameter = new Map(parameters.map((p) => [p, tensors.splice(0, this.optimizer.states(p).length)]));
    this.stepsBefore = new Map(set.turning.map((p) => [p, set.firstStep - 1]));
  }

  /** Sets the states of these parameters to zero. */
  clear(parameters: readonly Parameter[]): void {
    for (const tensor of parameters.flatMap((p) => this.tensors(p)))
      for (let at = 0; at < tensor.bytes; at += zeros.length) tensor.writeBytes(zeros.subarray(0, tensor.bytes - at), at);
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

  /** A whole step of an optimizer that needs losses alone; returns its loss. `run` runs ops on the weights. */
  forwardStep(loss: () => number, run: (body: (run: Run) => void) => void): number {
    const parameters = [...this.byParameter.keys()];
    const update: ForwardStep['update'] = (change) =>
      run((r) => {
        for (const p of parameters) change(r, p, this.context(p).seed);
      });
    return this.optimizer.forwardStep?.({ learningRate: this.learningRate, loss, update }) ?? Number.NaN;
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
    const { step, gradScale, stochasticRounding } = this;
    const learningRate = this.learningRate * p.learningRateFactor;
    const stream = nameStream(p.name);
    const [seed, parameterSeed] = [randomKey(this.seed, step, stream), randomKey(this.seed, stream)];
    return { step: step - (this.stepsBefore.get(p) ?? 0), learningRate, gradScale, seed, parameterSeed, stochasticRounding };
  }

  private specs(parameters: readonly Parameter[]): StateSpec[] {
    return parameters.flatMap((p) => this.optimizer.states(p).map((spec) => ({ ...spec, name: `${p.name}.${spec.name}` })));
  }
}
