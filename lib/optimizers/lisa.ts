import type { z } from 'zod';
import { count } from '../config/kinds.js';
import { permutation } from '../data/shuffle.js';
import { FinetuneError } from '../native/errors.js';
import { adamwOptimizer, adamwSettings } from './adamw.js';
import { defineOptimizer, fullOnly, fusedBySetting, wholeModel } from './definition.js';
import type { Rotation } from './rotation.js';
import { switchEvery } from './settings.js';

const settings = {
  sampledLayers: count().default(2).describe('Decoder blocks that train at a time beside embedding, final norm and head'),
  switchEvery: switchEvery(20),
  ...adamwSettings,
};

/**
 * LISA (Pan et al. 2024, arXiv 2403.17919, algorithm 1): embedding, final norm and head train in every step, and of the blocks gamma
 * that are drawn anew every K steps, uniformly and without repeats. The moments of blocks start at zero with each draw.
 */
export const lisa = defineOptimizer({
  name: 'lisa',
  description: 'LISA (arXiv 2403.17919): AdamW on embedding, head and some blocks that are drawn anew every switchEvery steps',
  settings,
  learningRates: { full: { value: 5e-5, source: 'arXiv 2403.17919 for 7B' } },
  ...fusedBySetting,
  ...fullOnly('lisa', 'it trains embedding, head and blocks of the model'),
  refuse: (_settings, { method }) => wholeModel('lisa', method),
  rotation: (config) => rotation(config),
  create: (config, context) => adamwOptimizer(config, context, 'lisa'),
});

function rotation({ sampledLayers, switchEvery }: z.output<z.ZodObject<typeof settings>>): Rotation {
  return {
    switchEvery,
    activeUnits: sampledLayers,
    parts({ embedding, blocks, norm, head }) {
      if (sampledLayers > blocks.length)
        throw new FinetuneError(
          'ERR_CONFIG_INVALID',
          `optimizer.sampledLayers must be at most ${blocks.length}, the model's blocks; got ${sampledLayers}`,
        );
      const always = [embedding, norm.weight, ...(head === embedding ? [] : [head])];
      return { always, units: blocks.map((b) => [...b.parameters()]) };
    },
    choose: (turn, units, seed) => [...permutation(units, seed, turn, stream).slice(0, sampledLayers)].sort((a, b) => a - b),
  };
}

/** Keeps these draws apart from those of the data. */
const stream = 0x4c_49_53_41;
