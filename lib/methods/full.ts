import type { z } from 'zod';
import { dtype } from '../config/kinds.js';
import type { Parameter } from '../core/parameter.js';
import type { CausalLm } from '../models/causal-lm.js';
import * as ops from '../native/ops.js';
import { defineMethod, type TrainedParameter, trainLastLayers } from './method.js';
import { firstTrainedLayer } from './train-last-layers.js';

const settings = {
  dtype: dtype().optional().describe('Storage type of the trained weights. Default: the value of dtype'),
  trainLastLayers,
};

export type FullSettings = z.output<z.ZodObject<typeof settings>>;

/** Full-parameter tuning. With trainLastLayers: only the last N blocks and the final norm; embedding and head stay frozen. */
export const full = defineMethod({
  name: 'full',
  description: 'Train the weights themselves',
  settings,
  // Resolved settings always have it: the run's dtype unless the method says otherwise.
  trainedDtype: (config) => config.dtype ?? 'f32',

  apply(model, config, options) {
    const trained = [...trainedParameters(model, config)].map((parameter): TrainedParameter => {
      parameter.trainable = true;
      const source = parameter.value;
      return { parameter, dtype: options.dtype, initialize: (target, context) => ops.cast(context, { x: source, y: target }) };
    });
    return { trained };
  },
});

function* trainedParameters(model: CausalLm, { trainLastLayers }: FullSettings): Iterable<Parameter> {
  if (trainLastLayers === undefined) {
    yield* model.parameters();
    return;
  }
  for (const block of model.blocks.slice(firstTrainedLayer(model, trainLastLayers))) yield* block.parameters();
  yield model.norm.weight;
}
