import { randomKey } from '../core/rng.js';
import * as ops from '../native/ops.js';
import { adamwOptimizer } from './adamw.js';
import type { OptimizerContext } from './definition.js';
import { onHiddenMatrices } from './hidden-matrices.js';
import { LowRankMoments, type LowRankSettings } from './low-rank.js';
import type { Optimizer } from './optimizer.js';

/**
 * APOLLO (Zhu et al. 2024, arXiv 2412.05270): native/ops/apollo_update.h. The random projection is not kept: it follows from the
 * seed, the weight's name and how many gaps have passed.
 */
export function apolloOptimizer(
  name: string,
  settings: LowRankSettings & { projectionGap: number; apolloScale: number; isTensorWise: boolean },
  context: OptimizerContext,
): Optimizer {
  const { projectionGap, apolloScale, isTensorWise } = settings;
  const moments = new LowRankMoments(settings, context);
  return onHiddenMatrices(
    {
      name,
      states: (p) => [...moments.specs(p), { name: 'update_norm', dtype: context.accumulator, shape: [1] }],
      update(run, p, grad, tensors, step) {
        ops.apolloUpdate(run, {
          ...moments.arguments(p, grad, tensors.slice(0, -1), step),
          previous: tensors.at(-1) as (typeof tensors)[number],
          scale: apolloScale,
          tensorWise: isTensorWise ? 1 : 0,
          basisSeed: randomKey(step.parameterSeed, Math.floor((step.step - 1) / projectionGap)),
        });
      },
    },
    adamwOptimizer(settings, context),
  );
}
