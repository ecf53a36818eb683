// A small problem with known gradients, for optimizers alone: scripts/fixtures/make_optimizer_trajectories.py has the same formulas.
import { allocate, release } from '../../lib/core/memory.js';
import { Parameter } from '../../lib/core/parameter.js';
import { Program } from '../../lib/core/program.js';
import type { Run } from '../../lib/core/run.js';
import { Tensor } from '../../lib/core/tensor.js';
import { makeOptimizer, type OptimizerConfig, optimizerSchema } from '../../lib/optimizers/index.js';
import { OptimizerState } from '../../lib/trainer/optimizer-state.js';
import type { Arithmetic } from '../parity/model-session.js';

export type OptimizerSettings = Partial<OptimizerConfig> & { type: OptimizerConfig['type'] };

const start = (i: number, offset: number): number => Math.sin(3 * i + offset);
const curvature = (i: number, offset: number): number => 1 + 0.5 * Math.sin(i + offset);
const minimum = (i: number): number => Math.cos(2 * i);
const noise = (i: number, step: number): number => 0.3 * Math.sin(0.7 * i + 1.3 * step);

/** Parameters of the given shapes that an optimizer moves step by step. */
export class Problem {
  readonly parameters: readonly Parameter[];
  readonly state: OptimizerState;
  private readonly gradients: readonly Tensor[];
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
    const optimizer = makeOptimizer(optimizerSchema.parse(settings), { weightDecayOn: 'all', accumulator });
    this.noisy = options.noisy;
    this.parameters = Object.entries(shapes).map(([name, shape], offset) => {
      const elements = shape.reduce((a, b) => a * b, 1);
      const values = Float64Array.from({ length: elements }, (_, i) => start(i, offset));
      return new Parameter(name, Tensor.from(accumulator, shape, values, 'weights', name));
    });
    this.gradients = this.parameters.map((p) => Tensor.allocate(accumulator, p.shape, 'gradients'));
    this.state = new OptimizerState(optimizer, this.parameters, { seed: 1, stochasticRounding: false, memory: 'optimizer' });
    this.state.begin(1, 0);
    this.program = new Program(arithmetic, (run) => this.apply(run));
    this.arena = allocate(this.program.bytes, 'arena');
  }

  /** One step on the gradient of 1/2 sum c (w - b)^2, with noise if asked for. */
  step(step: number, learningRate: number): void {
    this.parameters.forEach((p, offset) => {
      const w = p.value.read() as Float64Array | Float32Array;
      const noisy = this.noisy ? 1 : 0;
      const g = Float64Array.from(w, (x, i) => curvature(i, offset) * (x - minimum(i)) + noisy * noise(i, step));
      this.gradients[offset]?.write(g);
    });
    this.state.begin(step, learningRate);
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

  dispose(): void {
    this.state.dispose();
    release(this.arena);
    for (const t of [...this.gradients, ...this.parameters.map((p) => p.value)]) t.dispose();
  }

  private apply(run: Run): void {
    this.parameters.forEach((p, i) => this.state.update(p, this.gradients[i] as Tensor, run));
  }
}
