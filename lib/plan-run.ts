import { resolvePlanConfig } from './config/resolve.js';
import type { PlanConfigInput } from './config/schema.js';
import { openModel } from './formats/model-source.js';
import type { PlanReport } from './trainer/events.js';
import { planRun } from './trainer/plan.js';

/**
 * Memory of a training run, to the byte, without reading or allocating any of it. Works from a bare config.json too.
 * @param config the settings of `train`; data and out may be missing
 * @throws ERR_CONFIG_INVALID with every problem; ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED
 * @example
 * ```ts
 * const { bytes } = plan({ model: './SmolLM2-135M', method: { type: 'lora', rank: 16 }, batchSize: 2 });
 * console.log(bytes.total);
 * ```
 */
export function plan(config: PlanConfigInput): PlanReport {
  const resolved = resolvePlanConfig(config);
  const source = openModel(resolved.model);
  try {
    return planRun(resolved, source);
  } finally {
    source.weights?.close();
  }
}
