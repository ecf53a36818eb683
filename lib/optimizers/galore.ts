import { z } from 'zod';
import type { Parameter } from '../core/parameter.js';
import { randomKey } from '../core/rng.js';
import * as ops from '../native/ops.js';
import { adamwOptimizer } from './adamw.js';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { onHiddenMatrices, wholeMatricesOnly } from './hidden-matrices.js';
import { LowRankMoments, lowRankSettings } from './low-rank.js';
import type { StateSpec } from './optimizer.js';
import { projectionGap, projectionRank } from './settings.js';

/** Elements that share a scale and a zero point in a projection of 4 bits: native/updates/int4_groups.h. */
const int4Group = 256;
/** Of the state `schedule`: native/ops/low_rank_basis.h. */
const scheduleSize = 7;

/**
 * GaLore (Zhao et al. 2024, arXiv 2403.03507): Adam on gradients of the linear layers of the blocks that are projected to their
 * leading singular vectors. Weights get new projections in different steps, so that no step has to decompose all gradients. With
 * projectionDtype int4 and adaptiveGap the projections are those of Q-GaLore (Zhang et al. 2024, arXiv 2407.08296). AdamW trains the rest.
 */
export const galore = defineOptimizer({
  name: 'galore',
  description: 'GaLore (arXiv 2403.03507): Adam on gradients projected to their leading singular vectors',
  settings: {
    projectionRank: projectionRank(128),
    projectionGap,
    galoreScale: z.number().positive().default(2).describe('Factor on the updates of projected weights'),
    projectionDtype: z
      .enum(['f32', 'int4'])
      .default('f32')
      .describe('Storage type of projections; int4: in groups of 256, as Q-GaLore (arXiv 2407.08296)'),
    adaptiveGap: z
      .boolean()
      .default(false)
      .describe('Double the gap of a weight whose leading direction stays similar over five projections (arXiv 2407.08296)'),
    ...lowRankSettings,
  },
  learningRates: {
    full: { value: 2e-5, source: 'that of adamw; with galoreScale 2, as is usual for fine-tuning' },
  },
  refusals: wholeMatricesOnly('galore'),
  ...fusedBySetting,
  create(settings, context) {
    const { projectionGap: gap, galoreScale, projectionDtype, adaptiveGap } = settings;
    const { accumulator } = context;
    const moments = new LowRankMoments(settings, context);
    const isInt4 = projectionDtype === 'int4';
    const basisSpecs = (p: Parameter): StateSpec[] => {
      const [rank, side] = [moments.rank(p), moments.side(p)];
      const groups = Math.ceil((rank * side) / int4Group);
      const basis: StateSpec[] = isInt4
        ? [
            { name: 'projection', dtype: 'u8', shape: [Math.ceil((rank * side) / 2)] },
            { name: 'projection.ranges', dtype: accumulator, shape: [groups, 2] },
          ]
        : [{ name: 'projection', dtype: accumulator, shape: [rank, side] }];
      const schedule: StateSpec[] = [
        { name: 'projection.schedule', dtype: accumulator, shape: [scheduleSize] },
        { name: 'projection.leading', dtype: accumulator, shape: [side] },
      ];
      return adaptiveGap ? [...basis, ...schedule] : basis;
    };
    return onHiddenMatrices(
      {
        name: 'galore',
        states: (p) => [...basisSpecs(p), ...moments.specs(p)],
        update(run, p, grad, tensors, step) {
          const basisTensors = Object.fromEntries(basisSpecs(p).map(({ name }, i) => [name, tensors[i]]));
          const basis = tensors[0] as (typeof tensors)[number];
          const ranges = basisTensors['projection.ranges'];
          ops.lowRankBasis(run, {
            grad,
            basis,
            ranges,
            schedule: basisTensors['projection.schedule'],
            leading: basisTensors['projection.leading'],
            rank: moments.rank(p),
            step: step.step,
            gap,
            phase: step.parameterSeed % gap,
            seed: randomKey(step.parameterSeed, step.step),
          });
          const rest = tensors.slice(basisSpecs(p).length);
          ops.galoreUpdate(run, { ...moments.arguments(p, grad, rest, step), basis, ranges, scale: galoreScale });
        },
      },
      adamwOptimizer(settings, context),
    );
  },
});
