import type { z } from 'zod';
import { unionOf } from '../config/kinds.js';
import { methodNames, methodOf } from '../methods/index.js';
import { adafactor } from './adafactor.js';
import { adalomo } from './adalomo.js';
import { adamw } from './adamw.js';
import { apollo } from './apollo.js';
import { apolloMini } from './apollo-mini.js';
import { badam } from './badam.js';
import type { LearningRate, OptimizerContext, OptimizerDefinition } from './definition.js';
import { galore } from './galore.js';
import { lion } from './lion.js';
import { lisa } from './lisa.js';
import { lomo } from './lomo.js';
import { mezo } from './mezo.js';
import { muon } from './muon.js';
import type { Optimizer } from './optimizer.js';
import { sgd } from './sgd.js';
import { signsgd } from './signsgd.js';

/** The registry of optimizers, one line each, in the order of help texts. */
const registry = [
  adamw, //
  sgd,
  lomo,
  lion,
  signsgd,
  adafactor,
  adalomo,
  muon,
  galore,
  apollo,
  apolloMini,
  badam,
  lisa,
  mezo,
] as const;

/** Settings of every optimizer, told apart by `type`. */
export const optimizerSchema = unionOf(registry);

export type OptimizerConfig = z.output<typeof optimizerSchema>;

/** Every optimizer, as what they have in common. */
export const optimizers = registry as unknown as readonly OptimizerDefinition<OptimizerConfig>[];

/** The optimizer that a configuration names. */
export function optimizerOf({ type }: Pick<OptimizerConfig, 'type'>): OptimizerDefinition<OptimizerConfig> {
  return optimizers.find((o) => o.name === type) as OptimizerDefinition<OptimizerConfig>;
}

/** The optimizer of a configuration, ready to train. */
export function makeOptimizer(config: OptimizerConfig, context: OptimizerContext): Optimizer {
  return optimizerOf(config).create(config, context);
}

/**
 * What learningRate auto stands for, by method and optimizer, in the order of the registries. Methods that take the rates of another come
 * with the first optimizer only.
 */
export function learningRateTable(): (LearningRate & { method: string; optimizer: string })[] {
  return methodNames.flatMap((method) =>
    optimizers.flatMap(({ name, learningRates }, i) => {
      const { like, learningRateFactor: factor } = methodOf({ type: method });
      const rate = learningRates[like];
      if (!rate || (like !== method && i > 0)) return [];
      const source =
        like === method
          ? rate.source
          : `${factor?.value ?? 1} times that of ${like}${factor ? `: ${factor.source}` : ''}; so with other optimizers`;
      return [{ method, optimizer: name, value: rounded(rate.value * (factor?.value ?? 1)), source }];
    }),
  );
}

/** A rate without what products leave in its last digits. */
export const rounded = (rate: number): number => Number(rate.toPrecision(6));
