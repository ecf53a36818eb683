import type { PlanConfig } from '../config/defaults.js';
import type { DType } from '../core/dtype.js';
import type { ModelSource } from '../formats/model-source.js';
import type { BatchCapacity } from '../models/batch.js';
import { readModelConfig } from '../models/index.js';
import type { PlanReport } from './events.js';
import { fixedCheckpointing, leastRecomputation } from './recomputation.js';
import { Session } from './session.js';

/** Storage types that config.json names. */
const checkpointTypes: Record<string, DType> = { float32: 'f32', float16: 'f16', bfloat16: 'bf16' };

/** The largest micro-batch a configuration allows: what is planned for while there is no data to look at. */
export function configuredCapacity({ batchSize, maxLength, packing }: PlanConfig): BatchCapacity {
  const tokens = batchSize * maxLength;
  // A packed bin can hold one sequence per two tokens at most: shorter ones have nothing to learn.
  return { tokens, sequences: packing ? Math.max(batchSize, Math.floor(tokens / 2)) : batchSize, labelTokens: tokens };
}

/**
 * Exact bytes of a run, from shapes alone. Without capacity: of the largest batch the configuration allows. Checkpointing `auto` is
 * chosen here by memoryLimit; the report has what was chosen.
 */
export function planRun(config: PlanConfig, source: ModelSource, capacity: BatchCapacity = configuredCapacity(config)): PlanReport {
  if (config.checkpointing !== 'auto') return planFixed(config, source, capacity);
  const { layers } = readModelConfig(source.config, source.path);
  const limit = config.memoryLimit ?? Number.POSITIVE_INFINITY;
  return leastRecomputation(layers.length, limit, (checkpointing) => planFixed({ ...config, checkpointing }, source, capacity));
}

function planFixed(config: PlanConfig, source: ModelSource, capacity: BatchCapacity): PlanReport {
  const stored = source.config.torch_dtype ?? source.config.dtype;
  const frozenDtype = checkpointTypes[String(stored)] ?? 'bf16';
  const session = new Session({
    config,
    model: readModelConfig(source.config, source.path),
    weights: source.weights,
    capacity,
    dry: true,
    frozenDtype,
  });
  return reportOf(session, config, source.path, capacity);
}

/** What a session was made for and the bytes it takes. */
export function reportOf(session: Session, config: PlanConfig, path: string, capacity: BatchCapacity): PlanReport {
  const count = (parameters: Iterable<{ numElements: number }>) => {
    let n = 0;
    for (const p of parameters) n += p.numElements;
    return n;
  };
  return {
    model: path,
    modelType: session.model.config.modelType,
    method: config.method.type,
    optimizer: config.optimizer.type,
    device: 'cpu',
    dtype: config.dtype,
    batchSize: config.batchSize,
    maxLength: config.maxLength,
    tokens: capacity.tokens,
    packing: config.packing,
    checkpointing: fixedCheckpointing(config),
    fused: config.fused,
    totalParameters: count(session.model.parameters()),
    trainableParameters: count(session.trained),
    bytes: session.plan(),
  };
}
