// Every optimizer follows its paper's rule, or its published implementation, in float64 and in the product's arithmetic.
import { describe, expect, it } from 'vitest';
import { optimizers } from '../../lib/optimizers/index.js';
import { type GradientSummary, readJson, summarize, summaryDistance } from '../parity/fixture.js';
import { oracle, product } from '../parity/model-session.js';
import { type OptimizerSettings, Problem } from './problem.js';

interface Run {
  name: string;
  optimizer: OptimizerSettings;
  learningRate: number;
  /** Of the test of convergence, where it differs. */
  convergesAt?: number;
  shapes: Record<string, number[]>;
  /** By step and parameter. */
  weights: Record<string, Record<string, GradientSummary>>;
}

const { runs } = readJson<{ runs: Run[] }>(import.meta.dirname, '..', 'fixtures', 'optimizers', 'trajectories.json');

/** Largest distance from the stored weights. */
function follow({ optimizer, learningRate, shapes, weights }: Run, arithmetic: typeof oracle): number {
  const problem = new Problem(optimizer, shapes, arithmetic, { noisy: true });
  let worst = 0;
  const last = Math.max(...Object.keys(weights).map(Number));
  for (let step = 1; step <= last; step++) {
    problem.step(step, learningRate);
    for (const p of problem.parameters) {
      const wanted = weights[step]?.[p.name];
      if (wanted) worst = Math.max(worst, summaryDistance(summarize(p.value.read()), wanted));
    }
  }
  problem.dispose();
  return worst;
}

it('every optimizer has a trajectory', () => {
  expect([...new Set(runs.map((r) => r.optimizer.type))].sort()).toEqual(optimizers.map((o) => o.name).sort());
});

describe.each(runs)('$name', (run) => {
  it('in float64', () => {
    expect(follow(run, oracle)).toBeLessThan(1e-12);
  });
  it('in f32', () => {
    // A state that lies between two codes may fall to either side.
    const bound = 'stateDtype' in run.optimizer ? 1e-4 : 2e-6;
    expect(follow(run, product)).toBeLessThan(bound);
  });
});

describe.each(runs)('$name converges', ({ optimizer, learningRate, convergesAt = learningRate, shapes }) => {
  it('to the minimum of a quadratic', () => {
    const problem = new Problem({ ...optimizer, weightDecay: 0 }, shapes, product, { noisy: false });
    const before = problem.loss();
    const steps = 300;
    for (let step = 1; step <= steps; step++) problem.step(step, convergesAt * (1 - step / (steps + 1)));
    expect(problem.loss()).toBeLessThan(1e-3 * before);
    problem.dispose();
  });
});
