import type { z } from 'zod';
import { readAdapter } from '../formats/peft-adapter.js';
import { FinetuneError } from '../native/errors.js';
import { DoraAdapter } from './dora-adapter.js';
import { loraSettings, lowRankStart, refuseLora, scaleOf, targetsOf, withVariants } from './lora.js';
import { attachLora } from './lora-load.js';
import { loraPeftConfig } from './lora-peft.js';
import { defineMethod, type FrozenParameter, type TrainedParameter } from './method.js';

const { dropout: _, ...settings } = loraSettings;

export type DoraSettings = z.output<z.ZodObject<typeof settings>>;

/**
 * DoRA (Liu et al. 2024, arXiv 2402.09353): LoRA on the direction of each weight row, and its length as a value that trains. Without dropout,
 * which would take a second product with the frozen weight.
 */
export const dora = defineMethod({
  name: 'dora',
  description: 'Low-rank adapters on the direction of weights, with trained lengths (arXiv 2402.09353)',
  settings,
  like: 'lora',
  refuse: refuseLora,
  trainedDtype: () => 'f32',
  peftConfig: (model, config, basePath) => loraPeftConfig(model, { ...config, dropout: 0 }, basePath),

  apply(model, config, options) {
    const { dtype } = options;
    if (config.initAdapter !== undefined) {
      const adapter = readAdapter(config.initAdapter);
      if (!adapter.config.use_dora) {
        adapter.close();
        throw new FinetuneError(
          'ERR_CONFIG_INVALID',
          `method.initAdapter: ${config.initAdapter} is a LoRA adapter without use_dora; use method lora`,
        );
      }
      const applied = attachLora(model, adapter, { dropout: 0, dtype, trainable: true });
      return { ...withVariants(applied, config), release: () => adapter.close() };
    }
    const trained: TrainedParameter[] = [];
    const frozen: FrozenParameter[] = [];
    for (const linear of targetsOf(model, config)) {
      const adapter = DoraAdapter.create(linear, { ...scaleOf(linear, config), dtype });
      linear.adapter = adapter;
      trained.push(...lowRankStart(adapter, linear, config, options), adapter.initialMagnitude(dtype));
      frozen.push(adapter.squaresOfWeight(dtype));
    }
    return withVariants({ trained, frozen }, config);
  },
});
