import { rungs, wholeLogitsBytes } from './compare/ladder.js';
import { type ComparisonRow, comparedBytes } from './compare/row.js';
import { trainingVariants } from './compare/variants.js';
import { resolvePlanConfig } from './config/resolve.js';
import type { PlanConfigInput } from './config/schema.js';
import { type ModelSource, openModel } from './formats/model-source.js';
import { readModelConfig } from './models/index.js';
import { FinetuneError } from './native/errors.js';
import type { PlanReport } from './trainer/events.js';
import { planRun } from './trainer/plan.js';

const checkpointings = ['none', 'block'] as const;

/**
 * The memory of every way of training a model, planned to the byte without reading or allocating any of it: each method with each
 * optimizer, with and without checkpointing, then a ladder from training as it comes to the least memory, each row on top of those
 * before. Ways that the model or the other settings exclude say why. Works from a bare config.json too.
 * @param config the settings of `train`; those of the compared methods and optimizers are taken from the rows, the rank of an adapter and
 *   the like from here
 * @throws ERR_CONFIG_INVALID with every problem; ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED
 */
export function planCompare(config: PlanConfigInput): ComparisonRow[] {
  resolvePlanConfig(config);
  const source = openModel(config.model);
  try {
    const { vocabSize } = readModelConfig(source.config, source.path);
    return comparedSettings(config).map(({ wholeLogits, ...row }) => {
      const planned = planOrReason(row.config, source);
      if (planned instanceof FinetuneError) return { ...row, plan: undefined, bytes: undefined, computedBytes: 0, note: reasonOf(planned) };
      const computedBytes = wholeLogits ? wholeLogitsBytes(planned.tokens, vocabSize) : 0;
      return { ...row, plan: planned, bytes: comparedBytes(planned.bytes, computedBytes), computedBytes };
    });
  } finally {
    source.weights?.close();
  }
}

type ComparedSettings = Pick<ComparisonRow, 'part' | 'name' | 'checkpointing' | 'config'> & { wholeLogits?: true };

/** The rows with their settings, in the order of the table. */
export function comparedSettings(config: PlanConfigInput): ComparedSettings[] {
  const { method } = config;
  const shared = withoutSettings(config, ['method', 'optimizer', 'quantize', 'learningRate', 'maxGradNorm']);
  const sameMethod = (row: PlanConfigInput['method']): PlanConfigInput['method'] =>
    method && row && method.type === (row as { type: string }).type ? ({ ...method, ...row } as PlanConfigInput['method']) : row;
  const methods = trainingVariants().flatMap(({ name, settings }) =>
    checkpointings.map((checkpointing): ComparedSettings => {
      return {
        part: 'methods',
        name,
        checkpointing,
        config: { ...shared, ...settings, method: sameMethod(settings.method), checkpointing },
      };
    }),
  );
  let current: PlanConfigInput = shared;
  const ladder = rungs.map(({ name, change, wholeLogits }): ComparedSettings => {
    current = { ...current, ...change, method: sameMethod(change.method ?? current.method) };
    const checkpointing = current.checkpointing === 'block' ? 'block' : 'none';
    return { part: 'ladder', name, checkpointing, config: current, ...(wholeLogits && { wholeLogits }) };
  });
  return [...methods, ...ladder];
}

// What belongs to the method and optimizer that were asked for says nothing of others.
function withoutSettings(config: PlanConfigInput, names: readonly string[]): PlanConfigInput {
  return Object.fromEntries(Object.entries(config).filter(([name]) => !names.includes(name))) as PlanConfigInput;
}

/** The plan, or why there is none. */
function planOrReason(config: PlanConfigInput, source: ModelSource): PlanReport | FinetuneError {
  try {
    return planRun(resolvePlanConfig(config), source);
  } catch (error) {
    if (error instanceof FinetuneError && ['ERR_CONFIG_INVALID', 'ERR_MODEL_UNSUPPORTED'].includes(error.code)) return error;
    throw error;
  }
}

// Errors of a configuration list their problems on lines of their own.
function reasonOf({ message }: FinetuneError): string {
  return message.replace(/\s*\n\s*/g, ' ');
}
