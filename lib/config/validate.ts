import { resolve } from 'node:path';
import { methodOf } from '../methods/index.js';
import { optimizerOf } from '../optimizers/index.js';
import { fusedClipOf } from './defaults.js';
import type { Refusal } from './kinds.js';
import type { LooseConfig } from './schema.js';
import { parseSize } from './size.js';

type Rule = (config: LooseConfig) => Refusal | undefined;

/** Every combination of valid settings that makes no sense together. Adding one is one entry. */
const rules: Rule[] = [
  ({ method, optimizer }) => {
    const { name, learningRates, refusals } = optimizerOf(optimizer);
    const { like } = methodOf(method);
    if (learningRates[like]) return undefined;
    const reason = method.type === like ? '' : `${method.type} trains as little as lora: `;
    return { path: ['optimizer', 'type'], message: `${reason}${refusals?.[like] ?? `${name} cannot train ${method.type}`}` };
  },
  ({ method }) => methodOf(method).refuse?.(method),
  ({ optimizer, method, dtype }) => optimizerOf(optimizer).refuse?.(optimizer, { method, dtype }),
  ({ method, quantize }) =>
    quantize !== undefined && methodOf(method).trainsMatrices
      ? {
          path: ['quantize'],
          message: `method ${method.type} changes the weights, and quantized ones stay as they are; use method lora, or leave quantize out`,
        }
      : undefined,
  ({ optimizer, batchSize, gradientAccumulationSteps: steps }) => {
    const { isFused, unfused } = optimizerOf(optimizer);
    if (!isFused(optimizer) || steps === 1) return undefined;
    const instead = `use batchSize ${batchSize * steps} with gradientAccumulationSteps 1, or ${unfused?.accumulation}`;
    return {
      path: ['gradientAccumulationSteps'],
      message: `fused updates change weights in the backward pass, so gradients cannot add up; ${instead}`,
    };
  },
  ({ optimizer, maxGradNorm }) => {
    const { isFused, unfused } = optimizerOf(optimizer);
    if (!isFused(optimizer) || !maxGradNorm || fusedClipOf(optimizer)) return undefined;
    return {
      path: ['maxGradNorm'],
      message: `the global norm is known only after all gradients, and fused updates keep none; ${unfused?.clipping}`,
    };
  },
  ({ optimizer, maxGradNorm }) => {
    const { name, forwardOnly } = optimizerOf(optimizer);
    return forwardOnly && maxGradNorm
      ? { path: ['maxGradNorm'], message: `${name} has no gradient whose norm could be clipped; leave it out, or lower learningRate` }
      : undefined;
  },
  ({ optimizer, maxGradNorm }) => {
    const clip = fusedClipOf(optimizer);
    const name = clip === 'exact' ? 'exactClip' : 'previousNormClip';
    const refuse = (message: string) => ({ path: ['optimizer', name], message });
    if (!clip) return undefined;
    if ('exactClip' in optimizer && optimizer.exactClip && optimizer.previousNormClip)
      return refuse('exactClip and previousNormClip exclude each other; give one of them');
    if (!optimizerOf(optimizer).isFused(optimizer))
      return refuse('is for fused updates; kept gradients are clipped exactly by maxGradNorm alone, so drop it or set fused');
    return maxGradNorm === 0 ? refuse('there is no norm to clip at: maxGradNorm is 0; drop one of them') : undefined;
  },
  ({ checkpointing, memoryLimit }) =>
    checkpointing === 'auto' && memoryLimit === undefined
      ? {
          path: ['checkpointing'],
          message: 'auto chooses by memoryLimit, and there is none; set it, or use none, block or a number of blocks',
        }
      : undefined,
  ({ offload, checkpointing }) =>
    offload.activations && checkpointing === 'none'
      ? {
          path: ['offload', 'activations'],
          message: 'there are block inputs to offload only where blocks are recomputed; set checkpointing to block, or drop it',
        }
      : undefined,
  ({ offload, optimizer }) =>
    offload.gradients && optimizerOf(optimizer).isFused(optimizer)
      ? { path: ['offload', 'gradients'], message: 'fused updates keep no gradients; drop it' }
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

/** All refusals of a configuration, in the order of the rules. */
export function findRefusals(config: LooseConfig): Refusal[] {
  return rules.flatMap((rule) => rule(config) ?? []);
}
