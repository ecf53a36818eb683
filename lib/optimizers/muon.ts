import { z } from 'zod';
import * as ops from '../native/ops.js';
import { adamwOptimizer } from './adamw.js';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { onHiddenMatrices, wholeMatricesOnly } from './hidden-matrices.js';
import { decayOf } from './optimizer.js';
import { beta1, beta2, eps, fusedSettings, momentum, nesterov, stateDtype, weightDecay } from './settings.js';
import { ElementStates } from './state.js';

/** The published rates: 0.02 for Muon beside 3e-4 for AdamW. Updates in the size of AdamW's share its rate. */
const publishedRatio = 0.02 / 3e-4;

/**
 * Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): momentum whose singular values a Newton-Schulz iteration
 * brings near 1, on the linear layers of the blocks: native/ops/muon_update.h. AdamW trains the rest.
 */
export const muon = defineOptimizer({
  name: 'muon',
  description: 'Muon (kellerjordan.github.io/posts/muon): orthogonalized momentum, one state value per weight of the blocks',
  settings: {
    momentum: momentum(0.95),
    nesterov: nesterov(true),
    newtonSchulzSteps: z.int().min(1).max(20).default(5).describe('Iterations that make the update orthogonal, three matrix products each'),
    updateScale: z
      .enum(['adamw', 'original'])
      .default('adamw')
      .describe(
        'Size of an update of [M, K]; adamw: 0.2 sqrt(max(M, K)) (arXiv 2502.16982); original: sqrt(max(1, M / K)), AdamW at 0.015 of the rate',
      ),
    beta1: beta1(0.9),
    beta2: beta2(0.95),
    eps: eps(1e-8),
    weightDecay: weightDecay(0.1),
    ...fusedSettings,
    stateDtype,
  },
  learningRates: {
    full: { value: 2e-5, source: 'that of adamw, for whose updates arXiv 2502.16982 scales those of muon' },
  },
  learningRateFactor: ({ updateScale }) => (updateScale === 'original' ? publishedRatio : 1),
  refusals: wholeMatricesOnly('muon'),
  ...fusedBySetting,
  create({ momentum, nesterov, newtonSchulzSteps, updateScale, weightDecay, stateDtype, ...settings }, context) {
    const rest = adamwOptimizer({ ...settings, weightDecay, stateDtype }, context);
    const states = new ElementStates(momentum > 0 ? ['momentum_buffer'] : [], stateDtype, context);
    const isOriginal = updateScale === 'original';
    const matrices = {
      name: 'muon',
      states: states.specs.bind(states),
      update(run, p, grad, tensors, { learningRate, gradScale, seed, stochasticRounding }) {
        const [rows = 1, cols = 1] = p.shape;
        const { state0, absmax0, stateBits } = states.arguments(p, tensors);
        ops.muonUpdate(run, {
          weight: p.value,
          grad,
          state0,
          absmax0,
          stateBits: stateBits ?? 8,
          learningRate,
          weightDecay: decayOf(p, weightDecay, context.weightDecayOn),
          gradScale,
          beta: momentum,
          nesterov: nesterov ? 1 : 0,
          iterations: newtonSchulzSteps,
          scale: isOriginal ? Math.sqrt(Math.max(1, rows / cols)) : 0.2 * Math.sqrt(Math.max(rows, cols)),
          inBf16: run.dtype === 'bf16' ? 1 : 0,
          seed,
          stochasticRounding: stochasticRounding ? 1 : 0,
        });
      },
    } satisfies Parameters<typeof onHiddenMatrices>[0];
    return onHiddenMatrices(matrices, {
      ...rest,
      rule: (p, tensors, step) => rest.rule(p, tensors, isOriginal ? { ...step, learningRate: step.learningRate / publishedRatio } : step),
    });
  },
});
