import { z } from 'zod';
import { count, type Refusal } from '../config/kinds.js';
import type { FloatType } from '../core/dtype.js';
import type { Parameter } from '../core/parameter.js';
import type { Tensor } from '../core/tensor.js';
import type { CausalLm } from '../models/causal-lm.js';
import type { OpContext } from '../native/call.js';
import * as ops from '../native/ops.js';

/** A parameter a method trains: the session gives it memory of its own and fills it once. */
export interface TrainedParameter {
  parameter: Parameter;
  dtype: FloatType;
  /** Writes the starting value. The parameter's old value is still there. */
  initialize(target: Tensor, context: OpContext): void;
}

/** A parameter that a method adds and leaves as it is. */
export interface FrozenParameter extends TrainedParameter {
  /** Whether it belongs into the files of the adapter. */
  saved?: boolean;
}

export interface MethodOptions {
  /** Type of trained values outside f64 runs. */
  dtype: FloatType;
  seed: number;
}

export interface AppliedMethod {
  trained: TrainedParameter[];
  /** What it adds to the model that does not train: given memory and filled like the trained, after them. */
  frozen?: FrozenParameter[];
  /** Gives back what initialize reads from; called once all parameters are initialized. */
  release?(): void;
}

/**
 * A tuning method: decides what trains, and puts adapters on the model. Parameters it adds are dry until the session
 * gives them memory.
 */
export interface Method<Config> {
  /** Whose learning rates and refusals of the optimizers hold for it: those of lora for a few values beside frozen weights. */
  like: 'lora' | 'full';
  /** What these rates are multiplied by for learningRate auto. Default 1. */
  learningRateFactor?: LearningRateFactor;
  /** Storage type of what it trains; f64 runs use f64. */
  trainedDtype(config: Config): FloatType;
  apply(model: CausalLm, config: Config, options: MethodOptions): AppliedMethod;
  /** What is wrong with these settings beyond their types. */
  refuse?(config: Config): Refusal | undefined;
  /** adapter_config.json of the result, for methods whose result is a PEFT adapter; the others write the whole model. */
  peftConfig?(model: CausalLm, config: Config, basePath: string): Record<string, unknown>;
  /** Name of a trained tensor in the result, where it is not that of the parameter. */
  savedName?(parameter: Parameter): string;
  /** Whether it trains the weights that `quantize` would quantize. */
  trainsMatrices?: boolean;
}

/** A factor on learning rates, and where it comes from. */
export interface LearningRateFactor {
  value: number;
  source: string;
}

interface Definition<Name extends string, Shape extends z.ZodRawShape> extends Method<z.output<z.ZodObject<Shape>>> {
  /** The configuration's `method.type`. */
  name: Name;
  /** One line of help. */
  description: string;
  settings: Shape;
}

/** A method in one piece: settings with help texts, and what it does to a model. */
export function defineMethod<const Name extends string, Shape extends z.ZodRawShape>(definition: Definition<Name, Shape>) {
  const { name, description, settings } = definition;
  return { ...definition, schema: z.strictObject({ type: z.literal(name).describe(description), ...settings }) };
}

/** A weight of the model that trains itself, from the value it has. */
export function trainedCopy(parameter: Parameter, dtype: FloatType): TrainedParameter {
  parameter.trainable = true;
  const source = parameter.value;
  return { parameter, dtype, initialize: (target, context) => ops.cast(context, { x: source, y: target }) };
}

/** A setting that several methods have. */
export const trainLastLayers = count().optional().describe('Train in the last N decoder blocks only; the rest stays frozen. Default: all');
