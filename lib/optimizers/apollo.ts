import { apolloOptimizer } from './apollo-update.js';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { wholeMatricesOnly } from './hidden-matrices.js';
import { lowRankSettings } from './low-rank.js';
import { apolloScale, projectionGap, projectionRank } from './settings.js';

/**
 * APOLLO (Zhu et al. 2024, arXiv 2412.05270): gradients of the linear layers of the blocks, scaled channel by channel as Adam
 * scales their random projection. AdamW trains the rest.
 */
export const apollo = defineOptimizer({
  name: 'apollo',
  description: 'APOLLO (arXiv 2412.05270): gradients scaled by channel as Adam scales their random projection',
  settings: {
    projectionRank: projectionRank(256),
    projectionGap,
    apolloScale: apolloScale(1),
    ...lowRankSettings,
  },
  learningRates: {
    full: { value: 2e-5, source: 'that of adamw, whose updates those of apollo imitate' },
  },
  refusals: wholeMatricesOnly('apollo'),
  ...fusedBySetting,
  create: (settings, context) => apolloOptimizer('apollo', { ...settings, isTensorWise: false }, context),
});
