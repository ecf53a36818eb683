import type { PlanConfig } from '../config/defaults.js';
import type { Checkpointing } from '../models/causal-lm.js';
import { FinetuneError } from '../native/errors.js';
import type { PlanReport } from './events.js';

/** What a session runs with. @throws ERR_INTERNAL while it is still to be chosen by a plan */
export function fixedCheckpointing({ checkpointing }: PlanConfig): Checkpointing {
  if (checkpointing === 'auto') throw new FinetuneError('ERR_INTERNAL', 'checkpointing auto was not resolved by a plan');
  return checkpointing;
}

type Plan = (checkpointing: Checkpointing) => PlanReport;

/** The plan with the least recomputation that fits: nothing made again, blocks, or groups of them. Where none fits, the smallest. */
export function leastRecomputation(layers: number, limitBytes: number, plan: Plan): PlanReport {
  const fits = ({ bytes }: PlanReport) => bytes.total <= limitBytes;
  const whole = plan('none');
  if (fits(whole)) return whole;
  const block = plan('block');
  if (fits(block)) return block;
  const plans = [whole, block, smallestGroups(layers, limitBytes, plan)];
  return plans.find(fits) ?? plans.reduce((a, b) => (b.bytes.total < a.bytes.total ? b : a));
}

/**
 * The plan with the smallest groups of blocks that fits: the smaller the group, the fewer blocks run once more. L / N inputs of groups
 * and N of the group at work are fewest at N = sqrt(L); where that does not fit, none does, and it is given back.
 */
export function smallestGroups(layers: number, limitBytes: number, plan: Plan): PlanReport {
  const largest = Math.max(2, Math.round(Math.sqrt(layers)));
  const least = plan(largest);
  if (least.bytes.total > limitBytes) return least;
  for (let n = 2; n < largest; n++) {
    const smaller = plan(n);
    if (smaller.bytes.total <= limitBytes) return smaller;
  }
  return least;
}
