import { apolloOptimizer } from './apollo-update.js';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { wholeMatricesOnly } from './hidden-matrices.js';
import { apolloScale, beta1, beta2, eps, fusedSettings, projectionGap, stateDtype, weightDecay } from './settings.js';

/** APOLLO-Mini (Zhu et al. 2024, arXiv 2412.05270): one factor for the whole gradient of a weight, from a projection of rank 1. */
export const apolloMini = defineOptimizer({
  name: 'apollo-mini',
  description: 'APOLLO-Mini (arXiv 2412.05270): the memory of sgd in the blocks, one factor a weight from a projection of rank 1',
  settings: {
    projectionGap,
    apolloScale: apolloScale(128),
    beta1: beta1(0.9),
    beta2: beta2(0.999),
    eps: eps(1e-6),
    weightDecay: weightDecay(0),
    ...fusedSettings,
    stateDtype,
  },
  learningRates: {
    full: { value: 2e-5, source: 'that of adamw, whose updates those of apollo imitate' },
  },
  refusals: wholeMatricesOnly('apollo-mini'),
  ...fusedBySetting,
  create: (settings, context) => apolloOptimizer('apollo-mini', { ...settings, projectionRank: 1, isTensorWise: true }, context),
});
