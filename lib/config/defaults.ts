import type { FullConfig, LoraConfig, OptimizerConfig, ParsedConfig } from './schema.js';
import { parseSize } from './size.js';

/**
 * Peak learning rates for `auto`, by method and optimizer, with their source.
 * They differ by orders of magnitude, so one default for all would be wrong for most.
 */
export const learningRates = {
  lora: {
    adamw: { value: 2e-4, source: 'ten times that of full training, as is usual for adapters' },
    sgd: { value: 0.3, source: 'ten times that of full training, as is usual for adapters' },
  },
  full: {
    adamw: { value: 2e-5, source: 'the usual rate of full fine-tuning with AdamW' },
    sgd: { value: 0.03, source: 'arXiv 2306.09782 with the gradient norm clipped at 1, as here; when fused, that of lomo' },
    // SmolLM2-135M-Instruct, bf16, 512 tokens a step: 0.03 diverges at step 8, 0.003 learns.
    lomo: { value: 0.003, source: 'a tenth of sgd, since a fused update cannot clip the norm' },
  },
} as const;

/** The learning rate that `auto` stands for. LoRA with LOMO is refused by validate.ts. */
export function defaultLearningRate(method: 'lora' | 'full', optimizer: OptimizerConfig): number {
  const { lora, full } = learningRates;
  if (optimizer.type === 'adamw') return learningRates[method].adamw.value;
  if (method === 'lora') return lora.sgd.value;
  return isFused(optimizer) ? full.lomo.value : full.sgd.value;
}

/** Settings as the engine reads them: nothing is left to look up. */
export interface PlanConfig extends Omit<ParsedConfig, 'method' | 'learningRate' | 'memoryLimit'> {
  method: LoraConfig | (FullConfig & { dtype: 'f32' | 'bf16' });
  learningRate: number;
  /** Whether updates are fused into the backward pass: LOMO, or `fused` of the optimizer. */
  fused: boolean;
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

/** Whether the optimizer updates weights inside the backward pass. */
export function isFused(optimizer: OptimizerConfig): boolean {
  return optimizer.type === 'lomo' || optimizer.fused;
}

/** Fills in what depends on other settings. Expects a configuration that validate.ts accepted. */
export function resolveDefaults(config: ParsedConfig): PlanConfig {
  const { method, learningRate, memoryLimit, maxGradNorm, ...rest } = config;
  const fused = isFused(config.optimizer);
  const norm = maxGradNorm ?? (fused ? 0 : 1);
  const bytes = memoryLimit === undefined ? undefined : parseSize(memoryLimit);
  return {
    ...rest,
    method: method.type === 'full' ? { ...method, dtype: method.dtype ?? config.dtype } : method,
    learningRate: learningRate === 'auto' ? defaultLearningRate(method.type, config.optimizer) : learningRate,
    fused,
    ...(config.maxSteps === undefined && { epochs: config.epochs ?? 1 }),
    ...(norm > 0 && { maxGradNorm: norm }),
    ...(bytes !== undefined && { memoryLimit: bytes }),
  };
}
