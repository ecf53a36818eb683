import type { z } from 'zod';
import { path } from '../config/kinds.js';
import type { Parameter } from '../core/parameter.js';
import { type PeftAdapter, readAdapter } from '../formats/peft-adapter.js';
import type { CausalLm } from '../models/causal-lm.js';
import { AdapterTensors, type AttachOptions, peftPrefix } from './adapter-tensors.js';
import { type AppliedMethod, defineMethod, trainedCopy, trainLastLayers } from './method.js';
import { patterns, selectByPath, targetModules, targetsHelp } from './targets.js';
import { firstTrainedLayer } from './train-last-layers.js';

const settings = {
  targets: patterns().optional().describe(targetsHelp),
  initAdapter: path().optional().describe('Start from this PEFT adapter folder instead of a fresh adapter'),
  trainLastLayers,
};

export type NormsSettings = z.output<z.ZodObject<typeof settings>>;

/**
 * The weights of the norms train, in f32, everything else is frozen (Zhao et al. 2023, arXiv 2312.11420). The result is peft's LN_TUNING
 * adapter.
 */
export const norms = defineMethod({
  name: 'norms',
  description: 'Train the weights of the norms alone (arXiv 2312.11420); too little for tasks far from the base',
  settings,
  like: 'lora',
  learningRateFactor: { value: 5, source: 'as for ia3: a few values that multiply whole channels' },
  trainedDtype: () => 'f32',
  savedName: ({ name }) => savedNormName(name),

  peftConfig: (model, _config, basePath) => ({
    peft_type: 'LN_TUNING',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: basePath,
    inference_mode: true,
    target_modules: targetModules(
      modulesOf(model),
      normsOf(model)
        .filter((p) => p.trainable)
        .map(normPath),
    ),
    exclude_modules: null,
    modules_to_save: null,
  }),

  apply(model, config, options) {
    if (config.initAdapter !== undefined) {
      const adapter = readAdapter(config.initAdapter, { types: ['LN_TUNING'] });
      return { ...attachNorms(model, adapter, { dropout: 0, dtype: options.dtype, trainable: true }), release: () => adapter.close() };
    }
    const first = firstTrainedLayer(model, config.trainLastLayers);
    const lower = new Set(model.blocks.slice(0, first).flatMap((b) => [...b.parameters()]));
    const candidates = normsOf(model).filter((p) => !lower.has(p));
    const chosen = config.targets ? selectByPath(candidates, normPath, config.targets, { what: 'norm' }) : candidates;
    return { trained: chosen.map((p) => trainedCopy(p, options.dtype)) };
  },
});

/** Lets norms take their weights from a PEFT LN_TUNING adapter. @throws ERR_ADAPTER_MISMATCH */
export function attachNorms(model: CausalLm, adapter: PeftAdapter<unknown>, options: AttachOptions): AppliedMethod {
  const tensors = new AdapterTensors(adapter, options);
  for (const p of normsOf(model)) {
    const name = savedNormName(p.name);
    const value = tensors.has(name) ? tensors.take(name, p.shape) : undefined;
    if (value) tensors.fill(p, value);
  }
  return tensors.finish();
}

// The vectors named weight are those of norms; biases are named bias.
const normsOf = (model: CausalLm): Parameter[] =>
  [...model.parameters()].filter(({ name, shape }) => shape.length === 1 && name.endsWith('.weight'));
const normPath = ({ name }: Parameter): string => name.replace(/\.weight$/, '');
const savedNormName = (name: string): string => `${peftPrefix}${name.replace(/\.weight$/, '.ln_tuning_layers.weight')}`;
const modulesOf = (model: CausalLm): string[] => [
  ...new Set([...model.parameters()].map(({ name }) => name.replace(/\.(weight|bias)$/, ''))),
];
