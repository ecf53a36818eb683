import { z } from 'zod';
import { defineOptimizer, fusedBySetting } from './definition.js';
import { factoredOptimizer } from './factored.js';
import { clipThreshold, fusedSettings, weightDecay } from './settings.js';

/** Adafactor (Shazeer & Stern 2018, arXiv 1804.04235) without momentum and with the run's own schedule. */
export const adafactor = defineOptimizer({
  name: 'adafactor',
  description: 'Adafactor (arXiv 1804.04235): second moments by row and column, no momentum',
  settings: {
    weightDecay: weightDecay(0),
    clipThreshold,
    scaleParameter: z.boolean().default(true).describe("Multiply the learning rate by the root mean square of each weight's values"),
    ...fusedSettings,
  },
  learningRates: {
    lora: { value: 5e-3, source: 'ten times that of full training, as is usual for adapters; times the RMS of each weight' },
    full: { value: 5e-4, source: 'that of adalomo, which has the same rule; times the RMS of each weight' },
  },
  ...fusedBySetting,
  create: (settings, context) => factoredOptimizer('adafactor', settings, context),
});
