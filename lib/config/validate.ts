import { resolve } from 'node:path';
import { isFused } from './defaults.js';
import type { LooseConfig } from './schema.js';
import { parseSize } from './size.js';

/** A combination that is refused: the setting to blame, and what to use instead. */
export interface Refusal {
  path: string[];
  message: string;
}

type Rule = (config: LooseConfig) => Refusal | undefined;

/** Every combination of valid settings that makes no sense together. Adding one is one entry. */
const rules: Rule[] = [
  ({ method, optimizer }) =>
    method.type === 'lora' && optimizer.type === 'lomo'
      ? {
          path: ['optimizer', 'type'],
          message: 'lomo saves the gradients of full training, and those of adapters are small; use adamw or sgd with lora, or method full',
        }
      : undefined,
  ({ method }) => {
    if (method.type !== 'lora') return undefined;
    for (const name of ['rankPattern', 'alphaPattern'] as const) {
      const bad = Object.keys(method[name]).find((pattern) => !isPattern(pattern));
      if (bad !== undefined) return { path: ['method', name, bad], message: 'wanted a layer name or a regular expression' };
    }
    return undefined;
  },
  (config) =>
    isFused(config.optimizer) && config.gradientAccumulationSteps > 1
      ? {
          path: ['gradientAccumulationSteps'],
          message: `fused updates change weights in the backward pass, so gradients cannot add up; ${insteadOfAccumulation(config)}`,
        }
      : undefined,
  (config) =>
    isFused(config.optimizer) && config.maxGradNorm
      ? {
          path: ['maxGradNorm'],
          message: `the global norm is known only after all gradients, and fused updates keep none; ${insteadOfClipping(config)}`,
        }
      : undefined,
  ({ epochs, maxSteps }) =>
    epochs !== undefined && maxSteps !== undefined
      ? { path: ['maxSteps'], message: 'epochs and maxSteps exclude each other; give one of them' }
      : undefined,
  ({ schedule }) =>
    schedule.warmupSteps > 0 && schedule.warmupRatio !== undefined
      ? { path: ['schedule', 'warmupRatio'], message: 'warmupSteps and warmupRatio exclude each other; give one of them' }
      : undefined,
  ({ schedule, maxSteps }) =>
    maxSteps !== undefined && schedule.warmupSteps > maxSteps
      ? { path: ['schedule', 'warmupSteps'], message: `the warm-up of ${schedule.warmupSteps} steps is longer than the run of ${maxSteps}` }
      : undefined,
  ({ validationData, validationSplit }) =>
    validationData !== undefined && validationSplit > 0
      ? { path: ['validationSplit'], message: 'validationData and validationSplit exclude each other; give one of them' }
      : undefined,
  ({ validationSplit: split }) =>
    split >= 1 && !Number.isInteger(split)
      ? { path: ['validationSplit'], message: `wanted a share below 1 or a whole number of rows, got ${split}` }
      : undefined,
  (config) => {
    const { earlyStoppingPatience, keepBest, everySteps } = config.evaluation;
    const name =
      earlyStoppingPatience !== undefined
        ? 'earlyStoppingPatience'
        : keepBest
          ? 'keepBest'
          : everySteps !== undefined
            ? 'everySteps'
            : undefined;
    if (!name || config.validationData !== undefined || config.validationSplit > 0) return undefined;
    return { path: ['evaluation', name], message: 'needs held-out data: give validationData or validationSplit' };
  },
  ({ resume, overwrite }) =>
    resume !== undefined && overwrite
      ? { path: ['overwrite'], message: 'would delete the run that resume continues; drop one of them' }
      : undefined,
  ({ model, out }) =>
    model !== undefined && out !== undefined && resolve(out) === resolve(model)
      ? { path: ['out'], message: 'is the model itself, which is never written to; choose another folder' }
      : undefined,
  ({ memoryLimit }) =>
    memoryLimit !== undefined && parseSize(memoryLimit) === undefined
      ? { path: ['memoryLimit'], message: 'wanted at least one byte and at most 8 PiB, such as 512MiB or 8GiB' }
      : undefined,
];

function isPattern(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return pattern !== '';
  } catch {
    return false;
  }
}

function insteadOfAccumulation({ optimizer, batchSize, gradientAccumulationSteps: steps }: LooseConfig): string {
  const other = optimizer.type === 'lomo' ? 'optimizer sgd' : 'fused false';
  return `use batchSize ${batchSize * steps} with gradientAccumulationSteps 1, or ${other}`;
}

function insteadOfClipping({ optimizer }: LooseConfig): string {
  return optimizer.type === 'lomo'
    ? 'use optimizer.clipValue, which clips each element, or optimizer sgd with maxGradNorm'
    : 'use fused false, or leave maxGradNorm out';
}

/** All refusals of a configuration, in the order of the rules. */
export function findRefusals(config: LooseConfig): Refusal[] {
  return rules.flatMap((rule) => rule(config) ?? []);
}
