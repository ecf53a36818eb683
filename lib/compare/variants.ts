import type { PlanConfigInput } from '../config/schema.js';
import { trainConfigSchema } from '../config/schema.js';
import { Parameter } from '../core/parameter.js';
import { Tensor } from '../core/tensor.js';
import { methodNames, methodOf } from '../methods/index.js';
import { makeOptimizer, optimizerSchema, optimizers } from '../optimizers/index.js';
import { stateDtypes } from '../optimizers/state.js';
import { OptimizerState } from '../trainer/optimizer-state.js';

/** Settings of a row of the comparison: what differs from what the user asked for. */
export type VariantSettings = Pick<PlanConfigInput, 'method' | 'optimizer' | 'quantize'>;

/** A way of training, as a row of the comparison. */
export interface TrainingVariant {
  name: string;
  settings: VariantSettings;
}

type Method = NonNullable<PlanConfigInput['method']>;
type Optimizer = NonNullable<PlanConfigInput['optimizer']>;

/** Settings of optimizers that change what they keep; each is tried on those that have it. */
const switches = [{ fused: true }, { momentum: 0.9 }, ...stateDtypes.slice(1).map((stateDtype) => ({ fused: true, stateDtype }))];

/** Rows that the registries do not lead to. */
const others: readonly TrainingVariant[] = [
  { name: 'full last layer, adamw', settings: { method: { type: 'full', trainLastLayers: 1 }, optimizer: { type: 'adamw' } } },
];

/**
 * Every method with every optimizer that trains it, in the order of the registries. Methods that train whole weights come with each
 * setting that changes what an optimizer keeps; adapters, whose states are small, come over every type that a base is quantized to.
 */
export function trainingVariants(): readonly TrainingVariant[] {
  const rows = methodNames.flatMap((type) => {
    const method = { type } as Method;
    const { like, trainsMatrices, peftConfig } = methodOf({ type } as never);
    // Methods that train as little as lora take as much of each optimizer as lora does.
    const optimizersOfMethod = optimizers.filter((o) => (type === like ? o.learningRates[like] : o.name === 'adamw'));
    if (trainsMatrices) {
      return optimizersOfMethod.flatMap((o) =>
        settingsOf(o.name).map((optimizer) => ({ name: `${type}, ${optimizerText(optimizer)}`, settings: { method, optimizer } })),
      );
    }
    const plain = optimizersOfMethod.map(({ name }) => ({
      name: `${type}, ${name}`,
      settings: { method, optimizer: { type: name } as Optimizer },
    }));
    if (!peftConfig) return plain;
    const bases = trainConfigSchema.shape.quantize.unwrap().options.map((quantize) => ({
      name: `${type} over ${quantize}, adamw`,
      settings: { method, optimizer: { type: 'adamw' } as Optimizer, quantize },
    }));
    return [...plain, ...bases];
  });
  return [...rows, ...others];
}

/** The optimizer's defaults, then each switch that it has and that makes it keep something else or nothing. */
function settingsOf(type: string): Optimizer[] {
  const found: Optimizer[] = [];
  const kept = new Set<string>();
  for (const change of [{}, ...switches]) {
    const parsed = optimizerSchema.safeParse({ type, ...change });
    if (!parsed.success) continue;
    const gradients = 'fused' in parsed.data && parsed.data.fused ? 'fused' : '';
    const key = `${gradients} ${stateBytes(parsed.data)}`;
    if (kept.has(key)) continue;
    kept.add(key);
    found.push({ type, ...change } as Optimizer);
  }
  return found;
}

function stateBytes(config: Parameters<typeof makeOptimizer>[0]): number {
  const optimizer = makeOptimizer(config, { weightDecayOn: 'matrices', accumulator: 'f32' });
  const weight = new Parameter('w', Tensor.dry('f32', [1024, 1024]));
  return new OptimizerState(optimizer, [weight], { seed: 0, stochasticRounding: true, memory: 'dry' }).bytes;
}

function optimizerText(optimizer: Optimizer): string {
  const { type, ...rest } = optimizer;
  const words = Object.entries(rest).map(([key, value]) => (value === true ? key : key === 'momentum' ? key : String(value)));
  return [type, ...words].join(' ');
}
