import type { z } from 'zod';
import { dtype, type Refusal } from '../config/kinds.js';
import type { Parameter } from '../core/parameter.js';
import type { CausalLm } from '../models/causal-lm.js';
import { defineMethod, trainedCopy, trainLastLayers } from './method.js';
import { patterns, selectByPath, targetsHelp } from './targets.js';
import { firstTrainedLayer } from './train-last-layers.js';

const settings = {
  dtype: dtype().optional().describe('Storage type of the trained weights. Default: the value of dtype'),
  targets: patterns().optional().describe(targetsHelp),
  trainLastLayers,
};

export type FullSettings = z.output<z.ZodObject<typeof settings>>;

/**
 * Full-parameter tuning. With trainLastLayers: only the last N blocks and the final norm; embedding and head stay frozen. With targets:
 * only the weights and biases of the modules they name.
 */
export const full = defineMethod({
  name: 'full',
  description: 'Train the weights themselves',
  settings,
  like: 'full',
  trainsMatrices: true,
  // Resolved settings always have it: the run's dtype unless the method says otherwise.
  trainedDtype: (config) => config.dtype ?? 'f32',
  refuse: ({ targets, trainLastLayers }): Refusal | undefined =>
    targets && trainLastLayers !== undefined
      ? { path: ['method', 'targets'], message: 'targets and trainLastLayers exclude each other; give one of them' }
      : undefined,

  apply: (model, config, options) => ({ trained: trainedParameters(model, config).map((p) => trainedCopy(p, options.dtype)) }),
});

function trainedParameters(model: CausalLm, { targets, trainLastLayers }: FullSettings): Parameter[] {
  const all = [...model.parameters()];
  if (targets) return selectByPath(all, modulePath, targets, { what: 'module' });
  if (trainLastLayers === undefined) return all;
  return [...model.blocks.slice(firstTrainedLayer(model, trainLastLayers)).flatMap((b) => [...b.parameters()]), model.norm.weight];
}

const modulePath = ({ name }: Parameter): string => name.replace(/\.(weight|bias)$/, '');
