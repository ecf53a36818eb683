import { defineOptimizer, onlyFused } from './definition.js';
import { factoredOptimizer } from './factored.js';
import { clipThreshold, fusedClipping, weightDecay } from './settings.js';

/**
 * AdaLomo (Lv et al. 2023, arXiv 2310.10195): Adafactor's rule on each gradient as soon as it is made. No gradient outlives its
 * update, so the largest one sets the memory.
 */
export const adalomo = defineOptimizer({
  name: 'adalomo',
  description: 'AdaLomo (arXiv 2310.10195): fused, second moments by row and column, one gradient at a time',
  settings: { weightDecay: weightDecay(0), clipThreshold, ...fusedClipping },
  learningRates: {
    full: { value: 5e-4, source: 'the instruction tuning of arXiv 2310.10195; times the RMS of each weight' },
  },
  ...onlyFused('adalomo', 'adafactor'),
  create: (settings, context) => factoredOptimizer('adalomo', { ...settings, scaleParameter: true }, context),
});
