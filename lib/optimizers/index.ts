import type { OptimizerConfig } from '../config/schema.js';
import { adamw } from './adamw.js';
import { lomo } from './lomo.js';
import type { Optimizer, WeightDecayOn } from './optimizer.js';
import { sgd } from './sgd.js';

/** What an optimizer takes besides its configuration. */
interface Context {
  weightDecayOn: WeightDecayOn;
  /** f64 runs keep their state in f64. */
  accumulator: 'f32' | 'f64';
}

type Make<Type> = (config: Extract<OptimizerConfig, { type: Type }>, context: Context) => Optimizer;

/** The registry of optimizers, one line each; the key is the configuration's `optimizer.type`. */
const optimizers: { [Type in OptimizerConfig['type']]: Make<Type> } = {
  adamw: (c, { weightDecayOn, accumulator }) => adamw({ ...c, weightDecayOn, stateDtype: accumulator === 'f64' ? 'f64' : c.stateDtype }),
  sgd: (c, { weightDecayOn }) => sgd({ ...c, weightDecayOn, clipValue: 0 }),
  lomo: (c, { weightDecayOn }) => lomo({ ...c, weightDecayOn, clipValue: c.clipValue ?? 0 }),
};

/** The optimizer of a configuration. */
export function makeOptimizer(config: OptimizerConfig, context: Context): Optimizer {
  return (optimizers[config.type] as Make<typeof config.type>)(config as never, context);
}
