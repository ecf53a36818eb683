import { z } from 'zod';
import { permutation } from '../data/shuffle.js';
import { adamwOptimizer, adamwSettings } from './adamw.js';
import { defineOptimizer, fullOnly, fusedBySetting, wholeModel } from './definition.js';
import type { Rotation } from './rotation.js';
import { switchEvery } from './settings.js';

const orders = ['random', 'ascending', 'descending'] as const;

const settings = {
  switchEvery: switchEvery(50),
  blockOrder: z.enum(orders).default('random').describe('Order of the blocks: random is a new permutation each time all had their turn'),
  includeEmbedding: z.boolean().default(false).describe('The embedding takes a turn too, before the first block'),
  includeHead: z.boolean().default(false).describe('The head takes a turn too, after the last block'),
  ...adamwSettings,
};

/**
 * BAdam (Luo, Yu & Li 2024, arXiv 2404.02827, algorithm 1): block coordinate descent whose inner solver is K steps of Adam. One
 * block of layers trains at a time, with moments that start at zero when its turn begins. Everything else is frozen, the final norm
 * always, so that the backward pass ends at the active block. 16-bit weights are rounded stochastically as everywhere
 * here, where the published code keeps a copy of the active block in f32.
 */
export const badam = defineOptimizer({
  name: 'badam',
  description: 'BAdam (arXiv 2404.02827): AdamW on one block of layers at a time, each for switchEvery steps',
  settings,
  learningRates: { full: { value: 2e-5, source: 'that of adamw' } },
  ...fusedBySetting,
  ...fullOnly('badam', 'it trains blocks of the model in turn'),
  refuse: (_settings, { method }) => wholeModel('badam', method),
  rotation: (config) => rotation(config),
  create: (config, context) => adamwOptimizer(config, context, 'badam'),
});

function rotation(config: z.output<z.ZodObject<typeof settings>>): Rotation {
  const { switchEvery, blockOrder, includeEmbedding, includeHead } = config;
  return {
    switchEvery,
    activeUnits: 1,
    parts({ embedding, blocks, head }) {
      const withHead = includeHead && !(includeEmbedding && head === embedding);
      const units = [...(includeEmbedding ? [[embedding]] : []), ...blocks.map((b) => [...b.parameters()]), ...(withHead ? [[head]] : [])];
      return { always: [], units };
    },
    choose(turn, units, seed) {
      const place = turn % units;
      if (blockOrder === 'ascending') return [place];
      if (blockOrder === 'descending') return [units - 1 - place];
      return [permutation(units, seed, Math.floor(turn / units), stream)[place] as number];
    },
  };
}

/** Keeps these draws apart from those of the data. */
const stream = 0x42_41_64_6d;
