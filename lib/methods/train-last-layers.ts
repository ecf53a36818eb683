import type { CausalLm } from '../models/causal-lm.js';
import { FinetuneError } from '../native/errors.js';

/** Index of the first of the last `count` blocks; 0 when count is undefined. @throws ERR_CONFIG_INVALID when there are fewer */
export function firstTrainedLayer(model: CausalLm, count: number | undefined): number {
  const layers = model.blocks.length;
  if (count === undefined) return 0;
  if (count > layers)
    throw new FinetuneError('ERR_CONFIG_INVALID', `method.trainLastLayers must be at most ${layers}, the model's blocks; got ${count}`);
  return layers - count;
}
