// A small problem with known gradients, for optimizers alone: scripts/fixtures/make_optimizer_trajectories.py has the same formulas.
import { allocate, release } from '../../lib/core/memory.js';
import { Parameter } from '../../lib/core/parameter.js';
import { Program } from '../../lib/core/program.js';
import type { Run } from '../../lib/core/run.js';
import { Tensor } from '../../lib/core/tensor.js';
import { makeOptimizer, type OptimizerConfig, optimizerOf, optimizerSchema } from '../../lib/optimizers/index.js';
import type { Rotatable } from '../../lib/optimizers/rotation.js';
import { OptimizerState } from '../../lib/trainer/optimizer-state.js';
import { type ActiveSet, parametersOf, Turns } from '../../lib/trainer/turns.js';
import type { Arithmetic } from '../parity/model-session.js';

export type OptimizerSettings = Partial<OptimizerConfig> & { type: OptimizerConfig['type'] };

const start = (i: number, offset: number): number => Math.sin(3 * i + offset);
const curvature = (i: number, offset: number): number => 1 + 0.5 * Math.sin(i + offset);
const minimum = (i: number): number => Math.cos(2 * i);
const noise = (i: number, step: number): number => 0.3 * Math.sin(0.7 * i + 1.3 * step);

const seed = 1;

/** The parameters as a model: every one is a block but those named embedding and norm. */
function asModel(parameters: readonly Parameter[]): Rotatable {
  const named = (name: string) => parameters.find((p) => p.name === name) ?? new Parameter(name, Tensor.dry('f32', [1]));
  const [embedding, norm] = [named('embedding'), named('norm')];
  const blocks = parameters.filter((p) => p !== embedding && p !== norm).map((p) => ({ parameters: () => [p] }));
  return { embedding, blocks, norm: { weight: norm }, head: embedding };
}

/** Parameters of the given shapes that an optimizer moves step by step. */
export class Problem {
  readonly parameters: readonly Parameter[];
  readonly state: OptimizerState;
  private readonly gradients: ReadonlyMap<Parameter, Tensor>;
  private readonly turns: Turns;
  private active: ActiveSet;
  private turn = 0;
  private readonly program: Program;
  private readonly arena: ReturnType<typeof allocate>;
  private readonly noisy: boolean;

  constructor(
    settings: OptimizerSettings,
    shapes: Record<string, readonly number[]>,
    arithmetic: Arithmetic,
    options: { noisy: boolean; weightDtype?: 'f64' | 'f32' | 'bf16' },
  ) {
    const accumulator = arithmetic.dtype === 'f64' ? 'f64' : 'f32';
    const config = optimizerSchema.parse(settings);
    const optimizer = makeOptimizer(config, { weightDecayOn: 'all', accumulator });
    this.noisy = options.noisy;
    this.parameters = Object.entries(shapes).map(([name, shape], offset) => {
      const elements = shape.reduce((a, b) => a * b, 1);
      const values = Float64Array.from({ length: elements }, (_, i) => start(i, offset));
      return new Parameter(name, Tensor.from(accumulator, shape, values, 'weights', name));
    });
    this.gradients = new Map(this.parameters.map((p) => [p, Tensor.allocate(accumulator, p.shape, 'gradients')]));
    const candidates = this.parameters.map((parameter) => ({ parameter, dtype: accumulator, initialize: () => {} }) as const);
    this.turns = new Turns(optimizerOf(config).rotation?.(config), asModel(this.parameters), candidates, seed);
    const largest = parametersOf(this.turns.largest((p) => p.numElements));
    this.state = new OptimizerState(optimizer, largest, { seed, stochasticRounding: false, memory: 'optimizer' });
    this.active = this.turns.active(0);
    this.state.activate(this.active);
    this.state.begin(1, 0);
    this.program = new Program(arithmetic, (run) => this.apply(run));
    this.arena = allocate(this.program.bytes, 'arena');
  }

  /** One step on the gradient of 1/2 sum c (w - b)^2, with noise if asked for; or on its loss, without a gradient. */
  step(step: number, learningRate: number): void {
    const turn = this.turns.turnOf(step);
    if (turn !== this.turn) {
      this.turn = turn;
      this.active = this.turns.active(turn);
      this.state.activate(this.active);
      this.state.clear(this.active.turning);
    }
    this.state.begin(step, learningRate);
    if (this.state.optimizer.forwardStep) {
      this.state.forwardStep(
        () => this.noisyLoss(step),
        (body) => this.program.run(this.arena, body),
      );
      return;
    }
    this.parameters.forEach((p, offset) => {
      const w = p.value.read() as Float64Array | Float32Array;
      const g = Float64Array.from(w, (x, i) => curvature(i, offset) * (x - minimum(i)) + this.noiseAt(i, step));
      this.gradients.get(p)?.write(g);
    });
    this.program.run(this.arena, (run) => this.apply(run));
  }

  /** Value of what is minimised. */
  loss(): number {
    let sum = 0;
    this.parameters.forEach((p, offset) => {
      (p.value.read() as Float64Array).forEach((x, i) => {
        sum += 0.5 * curvature(i, offset) * (x - minimum(i)) ** 2;
      });
    });
    return sum;
  }

  private noiseAt(i: number, step: number): number {
    return this.noisy ? noise(i, step) : 0;
  }

  private noisyLoss(step: number): number {
    const values = this.parameters.flatMap((p) => Array.from(p.value.read() as Float64Array, (x, i) => this.noiseAt(i, step) * x));
    return values.reduce((a, b) => a + b, this.loss());
  }

  dispose(): void {
    this.state.dispose();
    release(this.arena);
    for (const t of [...this.gradients.values(), ...this.parameters.map((p) => p.value)]) t.dispose();
  }

  private apply(run: Run): void {
    for (const p of parametersOf(this.active)) this.state.update(p, this.gradients.get(p) as Tensor, run);
  }
}
