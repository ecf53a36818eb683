import type { z } from 'zod';
import { FinetuneError } from '../native/errors.js';
import { defineMethod, trainedCopy, trainLastLayers } from './method.js';
import { patterns, selectByPath, targetsHelp } from './targets.js';
import { firstTrainedLayer } from './train-last-layers.js';

const settings = {
  targets: patterns().optional().describe(targetsHelp),
  trainLastLayers,
};

export type BitFitSettings = z.output<z.ZodObject<typeof settings>>;

/**
 * BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): the biases of the linear layers train, in f32, everything else is frozen. The result is a
 * model folder: peft has no adapter of this kind.
 */
export const bitfit = defineMethod({
  name: 'bitfit',
  description: 'Train the biases alone (arXiv 2106.10199), of models that have them',
  settings,
  like: 'lora',
  learningRateFactor: { value: 2.5, source: 'arXiv 2106.10199 searches from 1e-4 to 1e-3 with AdamW' },
  trainedDtype: () => 'f32',

  apply(model, config, options) {
    const blocks = model.blocks.slice(firstTrainedLayer(model, config.trainLastLayers));
    const biased = blocks.flatMap((b) => [...b.linears()]).filter((l) => l.bias);
    if (biased.length === 0)
      throw new FinetuneError(
        'ERR_CONFIG_INVALID',
        'method.type: no linear layer of this model has a bias that bitfit could train; use method norms, ia3 or lora',
      );
    const chosen = config.targets ? selectByPath(biased, (l) => l.path, config.targets, { what: 'layer with a bias' }) : biased;
    return { trained: chosen.flatMap(({ bias }) => (bias ? [trainedCopy(bias, options.dtype)] : [])) };
  },
});
