// The projections of galore: what the randomized decomposition keeps, and when a weight gets a new one.
import { describe, expect, it } from 'vitest';
import type { DeviceName } from '../../lib/core/device.js';
import { Tensor } from '../../lib/core/tensor.js';
import * as ops from '../../lib/native/ops.js';
import { TestContext } from '../ops/context.js';
import { normalStream } from '../ops/random.js';
import { Matrix } from '../ops/suite.js';
import { product } from '../parity/model-session.js';
import { Problem } from './problem.js';

/** Singular values fall slowly, 1 / sqrt(i): nothing separates those kept from the rest. */
function gradient(rows: number, cols: number, terms: number): Float32Array {
  const normal = normalStream(rows + terms);
  const values = new Float32Array(rows * cols);
  for (let t = 0; t < terms; t++) {
    const [u, v] = [Array.from({ length: rows }, normal), Array.from({ length: cols }, normal)];
    for (let i = 0; i < values.length; i++)
      values[i] = (values[i] as number) + ((u[Math.floor(i / cols)] as number) * (v[i % cols] as number)) / Math.sqrt(t + 1);
  }
  return values;
}

function basisOf(device: DeviceName, rows: number, cols: number, rank: number, values: ArrayLike<number>): Matrix {
  const side = Math.min(rows, cols);
  const [grad, basis] = [Tensor.from('f32', [rows, cols], values, 'other', 'grad'), Tensor.allocate('f32', [rank, side], 'other')];
  ops.lowRankBasis(new TestContext(device), { grad, basis, rank, seed: 5 });
  const made = new Matrix(rank, side, Float64Array.from(basis.read()));
  grad.dispose();
  basis.dispose();
  return made;
}

/** Largest distance of the products of rows from those of orthonormal ones. */
function defect(basis: Matrix): number {
  let worst = 0;
  for (let i = 0; i < basis.rows; i++)
    for (let j = 0; j <= i; j++) {
      let dot = 0;
      for (let k = 0; k < basis.cols; k++) dot += basis.at(i, k) * basis.at(j, k);
      worst = Math.max(worst, Math.abs(dot - (i === j ? 1 : 0)));
    }
  return worst;
}

/** Sum of the squares that the projection of a gradient keeps. */
function energy(basis: Matrix, rows: number, cols: number, values: ArrayLike<number>): number {
  let sum = 0;
  for (let r = 0; r < basis.rows; r++)
    for (let i = 0; i < Math.max(rows, cols); i++) {
      let dot = 0;
      for (let k = 0; k < basis.cols; k++) dot += basis.at(r, k) * (values[rows >= cols ? i * cols + k : k * cols + i] as number);
      sum += dot * dot;
    }
  return sum;
}

describe('the randomized decomposition', () => {
  it.each([
    [150, 90],
    [80, 210],
  ])('keeps what the exact one keeps: [%i, %i]', (rows, cols) => {
    const values = gradient(rows, cols, 70);
    const [exact, random] = [basisOf('ref', rows, cols, 16, values), basisOf('cpu', rows, cols, 16, values)];
    expect(defect(random)).toBeLessThan(1e-5);
    expect(energy(random, rows, cols, values)).toBeGreaterThan(0.995 * energy(exact, rows, cols, values));
  });

  it.each([
    ['of rank 3', gradient(120, 70, 3)],
    ['of zeros', new Float32Array(120 * 70)],
  ])('has orthonormal rows for a gradient %s', (_name, values) => {
    const basis = basisOf('cpu', 120, 70, 40, values);
    expect(defect(basis)).toBeLessThan(1e-5);
    const whole = values.reduce((sum, x) => sum + x * x, 0);
    expect(Math.abs(energy(basis, 120, 70, values) - whole)).toBeLessThanOrEqual(1e-5 * whole);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('ends for a gradient with %s', (bad) => {
    const values = gradient(60, 40, 10);
    values[77] = bad;
    expect(basisOf('cpu', 60, 40, 8, values).data).toHaveLength(8 * 40);
  });
});

describe('galore', () => {
  it('gives every weight a new projection at the first step and once a gap, in steps of its own', () => {
    const gap = 5;
    const names = Array.from({ length: 12 }, (_, i) => `layers.${i}.w.weight`);
    const shapes = Object.fromEntries(names.map((name) => [name, [6, 9]]));
    const problem = new Problem({ type: 'galore', projectionRank: 2, projectionGap: gap }, shapes, product, { noisy: true });
    const projections = problem.state.named.filter(({ name }) => name.endsWith('.projection'));
    expect(projections).toHaveLength(names.length);
    const read = () => projections.map(({ tensor }) => tensor.read().join());
    const renewed: boolean[][] = [];
    for (let step = 1, last = read(); step <= 1 + 3 * gap; step++) {
      problem.step(step, 0.05);
      const now = read();
      renewed.push(now.map((x, i) => x !== last[i]));
      last = now;
    }
    problem.dispose();
    expect(renewed[0]).toEqual(names.map(() => true));
    for (const step of renewed.slice(1)) expect(step.filter(Boolean).length).toBeLessThan(names.length);
    names.forEach((_, i) => {
      const steps = renewed.flatMap((step, at) => (at > 0 && step[i] ? [at] : []));
      expect(steps).toHaveLength(3);
      steps.slice(1).forEach((at, k) => expect(at - (steps[k] as number)).toBe(gap));
    });
  });
});
