import { z } from 'zod';
import type { Refusal } from '../config/kinds.js';
import type { MethodConfig } from '../methods/index.js';
import type { Method } from '../methods/method.js';
import type { Optimizer, WeightDecayOn } from './optimizer.js';
import type { Rotation } from './rotation.js';

/** A peak learning rate for `auto`, and where it comes from. */
export interface LearningRate {
  value: number;
  source: string;
}

/** What an optimizer takes besides its settings. */
export interface OptimizerContext {
  weightDecayOn: WeightDecayOn;
  /** f64 runs keep their state in f64. */
  accumulator: 'f32' | 'f64';
}

/** The settings of a run that an optimizer may not go with. */
export interface RunSettings {
  method: MethodConfig;
  dtype: 'f32' | 'bf16';
}

/** What the configuration and the session need to know of an optimizer. */
export interface OptimizerDefinition<Settings> {
  /** The configuration's `optimizer.type`. */
  name: string;
  /**
   * Rates for `auto` by what a method is `like`. They differ by orders of magnitude between optimizers and methods, so one default for
   * all would be wrong for most. Methods like one that is left out are refused with what `refusals` says.
   */
  learningRates: Partial<Record<Method<never>['like'], LearningRate>>;
  /** For method full where updates are fused, if that differs: a fused update cannot clip the global norm. */
  fusedLearningRate?: LearningRate | undefined;
  /** What the rate for `auto` is multiplied by under these settings; 1 if left out. */
  learningRateFactor?(settings: Settings): number;
  refusals?: Partial<Record<Method<never>['like'], string>>;
  /** Whether these settings update weights inside the backward pass. */
  isFused(settings: Settings): boolean;
  /** Whether it needs losses alone: no backward pass runs, and there is no gradient to clip. */
  forwardOnly?: boolean;
  /** For those that can be fused: what to use instead where gradients must be kept, for accumulation and for a global norm. */
  unfused?: { accumulation: string; clipping: string };
  /** What is wrong with these settings beyond their types, or in this run. */
  refuse?(settings: Settings, run: RunSettings): Refusal | undefined;
  /** For optimizers that train a part of the model at a time. */
  rotation?(settings: Settings): Rotation;
  create(settings: Settings, context: OptimizerContext): Optimizer;
}

interface Definition<Name extends string, Shape extends z.ZodRawShape> extends OptimizerDefinition<z.output<z.ZodObject<Shape>>> {
  name: Name;
  /** One line of help. */
  description: string;
  settings: Shape;
}

/** An optimizer in one piece: settings with help texts, default rates, and the rule. */
export function defineOptimizer<const Name extends string, Shape extends z.ZodRawShape>(definition: Definition<Name, Shape>) {
  const { name, description, settings } = definition;
  return { ...definition, schema: z.strictObject({ type: z.literal(name).describe(description), ...settings }) };
}

/** For optimizers with a `fused` setting. */
export const fusedBySetting = {
  isFused: (settings: { fused: boolean }) => settings.fused,
  unfused: { accumulation: 'fused false', clipping: 'use optimizer.exactClip, optimizer.previousNormClip or fused false' },
};

/** For optimizers of method full; `because` says what is at odds with adapters. */
export const fullOnly = (name: string, because: string) => ({
  refusals: { lora: `${name} saves the memory of full training: ${because}; use adamw with lora, or method full` },
});

/** Refuses methods that leave a part of the model out, for optimizers that choose what trains. */
export function wholeModel(name: string, method: MethodConfig): Refusal | undefined {
  const part = method.trainLastLayers !== undefined ? 'trainLastLayers' : method.type === 'full' && method.targets ? 'targets' : undefined;
  if (!part) return undefined;
  return { path: ['method', part], message: `${name} chooses the blocks that train itself; leave it out, or use adamw` };
}

/** For optimizers that are always fused; `other` does the like on kept gradients. */
export const onlyFused = (name: string, other: string, clipping = '') => ({
  isFused: () => true,
  unfused: {
    accumulation: `optimizer ${other}`,
    clipping: `use optimizer.exactClip or optimizer.previousNormClip with it${clipping}, or use optimizer ${other}`,
  },
  refusals: {
    lora: `${name} saves the gradients of full training, and those of adapters are small; use adamw or ${other} with lora, or method full`,
  },
});
