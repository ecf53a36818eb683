import type { Optimizer } from './optimizer.js';
import { type SgdOptions, sgd } from './sgd.js';

/** LOMO (Lv et al. 2023, arXiv 2306.09782): SGD in the epilogue of every weight gradient, so that no gradient is ever stored. */
export function lomo(options: SgdOptions): Optimizer {
  return { ...sgd(options), name: 'lomo' };
}
