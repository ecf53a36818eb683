import type { FullConfig } from '../config/schema.js';
import type { Parameter } from '../core/parameter.js';
import type { CausalLm } from '../models/causal-lm.js';
import * as ops from '../native/ops.js';
import type { Method, TrainedParameter } from './method.js';
import { firstTrainedLayer } from './train-last-layers.js';

/** Full-parameter tuning. With trainLastLayers: only the last N blocks and the final norm; embedding and head stay frozen. */
export const full: Method<FullConfig> = {
  // Resolved settings always have it: the run's dtype unless the method says otherwise.
  trainedDtype: ({ dtype = 'f32' }) => dtype,

  apply(model, config, { dtype }) {
    const trained = [...trainedParameters(model, config)].map((parameter): TrainedParameter => {
      parameter.trainable = true;
      const source = parameter.value;
      return { parameter, dtype, initialize: (target, context) => ops.cast(context, { x: source, y: target }) };
    });
    return { trained };
  },
};

function* trainedParameters(model: CausalLm, { trainLastLayers }: FullConfig): Iterable<Parameter> {
  if (trainLastLayers === undefined) {
    yield* model.parameters();
    return;
  }
  for (const block of model.blocks.slice(firstTrainedLayer(model, trainLastLayers))) yield* block.parameters();
  yield model.norm.weight;
}
