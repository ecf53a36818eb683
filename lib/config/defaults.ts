import { type MethodConfig, type MethodName, methodOf } from '../methods/index.js';
import type { LearningRate } from '../optimizers/definition.js';
import { optimizerOf, rounded } from '../optimizers/index.js';
import type { FullConfig, OptimizerConfig, ParsedConfig } from './schema.js';
import { parseSize } from './size.js';

/** The learning rate that `auto` stands for. A method that the optimizer has no rate for is refused by validate.ts. */
export function defaultLearningRate(method: MethodName, config: OptimizerConfig): number {
  const { learningRates, fusedLearningRate, learningRateFactor, isFused } = optimizerOf(config);
  const { like, learningRateFactor: ofMethod } = methodOf({ type: method });
  const rate = like === 'full' && isFused(config) ? (fusedLearningRate ?? learningRates.full) : learningRates[like];
  return rounded((rate as LearningRate).value * (ofMethod?.value ?? 1) * (learningRateFactor?.(config) ?? 1));
}

/** Settings as the engine reads them: nothing is left to look up. */
export interface PlanConfig extends Omit<ParsedConfig, 'method' | 'learningRate' | 'memoryLimit'> {
  method: Exclude<MethodConfig, FullConfig> | (FullConfig & { dtype: 'f32' | 'bf16' });
  learningRate: number;
  /** Whether updates are fused into the backward pass, as the optimizer and its settings say. */
  fused: boolean;
  /** How fused updates clip at maxGradNorm. */
  fusedClip?: 'exact' | 'previous' | undefined;
  /** Exactly one of epochs and maxSteps is set. */
  epochs?: number | undefined;
  maxSteps?: number | undefined;
  /** Global gradient norm to clip at; absent: no clipping. */
  maxGradNorm?: number | undefined;
  /** Bytes. */
  memoryLimit?: number | undefined;
}

/** Settings of a training run, complete and valid. */
export interface TrainConfig extends PlanConfig {
  data: string;
  out: string;
}

/** How fused updates clip the global norm, if they do. */
export function fusedClipOf(config: OptimizerConfig): 'exact' | 'previous' | undefined {
  if (!('exactClip' in config)) return undefined;
  return config.exactClip ? 'exact' : config.previousNormClip ? 'previous' : undefined;
}

/** Fills in what depends on other settings. Expects a configuration that validate.ts accepted. */
export function resolveDefaults(config: ParsedConfig): PlanConfig {
  const { method, learningRate, memoryLimit, maxGradNorm, ...rest } = config;
  const { isFused, forwardOnly } = optimizerOf(config.optimizer);
  const fused = isFused(config.optimizer);
  const clips = !forwardOnly && (!fused || fusedClipOf(config.optimizer) !== undefined);
  const norm = maxGradNorm ?? (clips ? 1 : 0);
  const bytes = memoryLimit === undefined ? undefined : parseSize(memoryLimit);
  return {
    ...rest,
    method: method.type === 'full' ? { ...method, dtype: method.dtype ?? config.dtype } : method,
    learningRate: learningRate === 'auto' ? defaultLearningRate(method.type, config.optimizer) : learningRate,
    fused,
    ...(config.maxSteps === undefined && { epochs: config.epochs ?? 1 }),
    ...(norm > 0 && { maxGradNorm: norm }),
    ...(norm > 0 && fused && { fusedClip: fusedClipOf(config.optimizer) }),
    ...(bytes !== undefined && { memoryLimit: bytes }),
  };
}
