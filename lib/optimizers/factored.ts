import * as ops from '../native/ops.js';
import type { OptimizerContext } from './definition.js';
import { decayOf, type Optimizer } from './optimizer.js';

/**
 * Factored second moments: a mean a row and one a column of each matrix as it is stored, a value an element of vectors. Adafactor
 * (Shazeer & Stern 2018, arXiv 1804.04235) and AdaLomo (Lv et al. 2023, arXiv 2310.10195): native/ops/factored_update.h.
 */
export function factoredOptimizer(
  name: string,
  options: { weightDecay: number; clipThreshold: number; scaleParameter: boolean },
  { weightDecayOn, accumulator }: OptimizerContext,
): Optimizer {
  const { weightDecay, clipThreshold, scaleParameter } = options;
  return {
    name,
    states: ({ shape }) =>
      shape.length === 1
        ? [{ name: 'exp_avg_sq', dtype: accumulator, shape }]
        : [
            { name: 'exp_avg_sq_col', dtype: accumulator, shape: shape.slice(1) },
            { name: 'exp_avg_sq_row', dtype: accumulator, shape: shape.slice(0, 1) },
          ],
    rule: () => undefined,
    update(run, p, grad, states, { learningRate, gradScale, step, seed, stochasticRounding }) {
      const [col, row] = states;
      if (!col) return;
      ops.factoredUpdate(run, {
        weight: p.value,
        grad,
        row,
        col,
        learningRate,
        weightDecay: decayOf(p, weightDecay, weightDecayOn),
        gradScale,
        beta2: 1 - step ** -0.8,
        clipThreshold,
        scaleParameter: scaleParameter ? 1 : 0,
        seed,
        stochasticRounding: stochasticRounding ? 1 : 0,
      });
    },
  };
}
