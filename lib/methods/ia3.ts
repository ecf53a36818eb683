import { z } from 'zod';
import { path } from '../config/kinds.js';
import { type PeftAdapter, readAdapter } from '../formats/peft-adapter.js';
import type { Linear } from '../layers/linear.js';
import type { CausalLm } from '../models/causal-lm.js';
import * as ops from '../native/ops.js';
import { AdapterTensors, type AttachOptions } from './adapter-tensors.js';
import { Ia3Adapter, ia3Name, ia3Shape } from './ia3-adapter.js';
import { type AppliedMethod, defineMethod, type TrainedParameter, trainLastLayers } from './method.js';
import { patterns, selectByPath, targetModules, targetsHelp } from './targets.js';
import { firstTrainedLayer } from './train-last-layers.js';

const settings = {
  targets: patterns().optional().describe(targetsHelp),
  feedForwardTargets: z
    .array(z.string().min(1))
    .optional()
    .describe('Those of them whose input the vector multiplies, instead of the output. Default: what leaves the MLP, if it is a target'),
  initAdapter: path().optional().describe('Start from this PEFT adapter folder instead of a fresh adapter'),
  trainLastLayers,
};

export type Ia3Settings = z.output<z.ZodObject<typeof settings>>;

const keysAndValues = ['k_proj', 'v_proj', 'qkv_proj'];
const mlpOutput = 'down_proj';

/**
 * (IA)^3 (Liu et al. 2022, arXiv 2205.05638) as peft computes it: a vector of ones that multiplies the outputs of some linear layers, and the
 * inputs of others. The model is unchanged at first.
 */
export const ia3 = defineMethod({
  name: 'ia3',
  description: 'Vectors that multiply keys, values and MLP activations (arXiv 2205.05638)',
  settings,
  like: 'lora',
  learningRateFactor: {
    value: 5,
    source: 'few values that multiply whole channels take more; arXiv 2205.05638 trains them at 3e-3 with Adafactor',
  },
  trainedDtype: () => 'f32',

  peftConfig(model, _config, basePath) {
    const all = [...model.linears()];
    const paths = all.map((l) => l.path);
    const adapted = all.filter((l) => l.adapter);
    const onInput = adapted.filter((l) => l.adapter?.scaling?.side === 'input');
    return {
      peft_type: 'IA3',
      task_type: 'CAUSAL_LM',
      base_model_name_or_path: basePath,
      inference_mode: true,
      target_modules: targetModules(
        paths,
        adapted.map((l) => l.path),
      ),
      feedforward_modules: targetModules(
        paths,
        onInput.map((l) => l.path),
      ),
      fan_in_fan_out: false,
      init_ia3_weights: true,
      exclude_modules: null,
      modules_to_save: null,
    };
  },

  apply(model, config, options) {
    if (config.initAdapter !== undefined) {
      const adapter = readAdapter(config.initAdapter, { types: ['IA3'] });
      return { ...attachIa3(model, adapter, { dropout: 0, dtype: options.dtype, trainable: true }), release: () => adapter.close() };
    }
    const linears = model.blocks.slice(firstTrainedLayer(model, config.trainLastLayers)).flatMap((b) => [...b.linears()]);
    const pathOf = (l: Linear) => l.path;
    const last = (l: Linear) => l.path.split('.').at(-1) as string;
    const chosen = config.targets
      ? selectByPath(linears, pathOf, config.targets, { what: 'linear layer' })
      : linears.filter((l) => [...keysAndValues, mlpOutput].includes(last(l)));
    const onInput = new Set(
      config.feedForwardTargets
        ? selectByPath(chosen, pathOf, config.feedForwardTargets, { what: 'target', setting: 'method.feedForwardTargets' })
        : chosen.filter((l) => last(l) === mlpOutput),
    );
    const adapt = (linear: Linear): TrainedParameter => {
      const adapter = new Ia3Adapter(linear, onInput.has(linear), options.dtype);
      linear.adapter = adapter;
      return { parameter: adapter.l, dtype: options.dtype, initialize: (y, context) => ops.fill(context, { y, value: 1 }) };
    };
    return { trained: chosen.map(adapt) };
  },
});

/**
 * Puts a PEFT IA3 adapter on the layers it has vectors for. Which side they are on follows from their shapes.
 * @throws ERR_ADAPTER_MISMATCH
 */
export function attachIa3(model: CausalLm, adapter: PeftAdapter<unknown>, options: AttachOptions): AppliedMethod {
  const tensors = new AdapterTensors(adapter, options);
  for (const linear of model.linears()) {
    const name = ia3Name(linear);
    const shape = tensors.shapeOf(name);
    if (!shape) continue;
    const isFeedForward = shape[0] === 1 && shape.length === 2;
    const value = tensors.take(name, ia3Shape(linear, isFeedForward));
    if (!value) continue;
    const ia3 = new Ia3Adapter(linear, isFeedForward, options.dtype);
    linear.adapter = ia3;
    tensors.fill(ia3.l, value);
  }
  return tensors.finish();
}
