import { apolloOptimizer } from './apollo-update.js';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { wholeMatricesOnly } from './hidden-matrices.js';
import { lowRankSettings } from './low-rank.js';
import { apolloScale, projectionGap } from './settings.js';

/** APOLLO-Mini (Zhu et al. 2024, arXiv 2412.05270): one factor for the whole gradient of a weight, from a projection of rank 1. */
export const apolloMini = defineOptimizer({
  name: 'apollo-mini',
  description: 'APOLLO-Mini (arXiv 2412.05270): the memory of sgd in the blocks, one factor a weight from a projection of rank 1',
  settings: {
    projectionGap,
    apolloScale: apolloScale(128),
    ...lowRankSettings,
  },
  learningRates: {
    full: { value: 2e-5, source: 'that of adamw, whose updates those of apollo imitate' },
  },
  refusals: wholeMatricesOnly('apollo-mini'),
  ...fusedBySetting,
  create: (settings, context) => apolloOptimizer('apollo-mini', { ...settings, projectionRank: 1, isTensorWise: true }, context),
});
