import type { PlanConfig } from './config/defaults.js';
import { resolvePlanConfig } from './config/resolve.js';
import type { PlanConfigInput } from './config/schema.js';
import { type ModelSource, openModel } from './formats/model-source.js';
import { readModelConfig } from './models/index.js';
import { FinetuneError } from './native/errors.js';
import { optimizerOf } from './optimizers/index.js';
import type { PlanReport } from './trainer/events.js';
import { planRun } from './trainer/plan.js';
import { smallestGroups } from './trainer/recomputation.js';

/** Settings that fit, with their plan. */
export interface Proposal {
  config: PlanConfigInput;
  plan: PlanReport;
  /** What was changed and what that costs, a sentence each; empty where it fits as asked. */
  reasons: string[];
}

/** One way to change a configuration, and how much it costs in speed or quality; 0 = as asked. */
interface Change {
  cost: number;
  /** The setting and what changing it costs, for people; of each where there are several. */
  why?: string | readonly string[];
  /** Smaller passes of the same step. */
  accumulates?: boolean;
  apply(config: PlanConfigInput): PlanConfigInput;
  /** Recompute groups of blocks, as small as the limit allows. */
  groupsBlocks?: boolean;
}

const asAsked: Change = { cost: 0, apply: (config) => config };
const mostProposals = 8;
const shortestLength = 128;
/** Rows of a tile: enough that its products are as fast as those of a batch. */
const tileRows = 512;

/**
 * Settings that need at most `limitBytes`, planned one by one to the byte; those that change least in speed and quality come first.
 * What is tried: recomputing blocks or groups of them, smaller batches with more accumulation, bf16, shorter examples, and for full training fused
 * AdamW, LOMO, and LoRA instead; last the MLP in tiles, then block inputs, optimizer states (and kept gradients) and weights in scratch files,
 * each with those before. A proposal that changes more than another in every respect is left out. Empty where nothing fits.
 * @throws ERR_CONFIG_INVALID, ERR_FILE, ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED
 */
export function planFit(config: PlanConfigInput, limitBytes: number): Proposal[] {
  if (!Number.isFinite(limitBytes) || limitBytes <= 0)
    throw new FinetuneError('ERR_CONFIG_INVALID', `limitBytes: wanted a number of bytes above 0, got ${limitBytes}`);
  const resolved = resolvePlanConfig(config);
  const source = openModel(resolved.model);
  try {
    return search(config, resolved, source, limitBytes);
  } finally {
    source.weights?.close();
  }
}

function search(config: PlanConfigInput, resolved: PlanConfig, source: ModelSource, limitBytes: number): Proposal[] {
  const methods = methodChanges(resolved);
  const dtypes = dtypeChanges(resolved);
  const batches = batchChanges(resolved);
  const inMemory = [methods, dtypes, lengthChanges(resolved), batches, blockChanges(resolved), [asAsked]];
  // Of shorter examples and smaller passes only the last: tiles and scratch files are there to keep the length.
  const lastly = [methods, dtypes, [asAsked], smallestOf(batches), blockChanges(resolved), streamChanges(resolved)];
  const accepted: { cost: number[]; proposal: Proposal }[] = [];
  for (const combination of [...combinations(inMemory), ...combinations(lastly)]) {
    const cost = combination.map((c) => c.cost);
    if (accepted.some((a) => a.cost.every((x, i) => x <= (cost[i] as number)))) continue;
    const proposal = proposalIfValid(combination, config, source, limitBytes);
    if (proposal && proposal.plan.bytes.total <= limitBytes) accepted.push({ cost, proposal });
    if (accepted.length === mostProposals) break;
  }
  return accepted.map((a) => a.proposal);
}

/** As asked, and the smallest passes of the same step. */
function smallestOf(batches: readonly Change[]): Change[] {
  const accumulated = batches.filter((c) => c.accumulates);
  return [asAsked, ...accumulated.slice(-1)];
}

/** Every combination of one change each, the cheapest first. */
function combinations(dimensions: Change[][]): Change[][] {
  const all = dimensions.reduce<Change[][]>((found, changes) => found.flatMap((f) => changes.map((c) => [...f, c])), [[]]);
  const cost = (changes: Change[]) => changes.reduce((sum, c) => sum + c.cost, 0);
  return all.sort((a, b) => cost(a) - cost(b));
}

// Some changes exclude each other, such as fused updates and accumulation.
function proposalIfValid(changes: Change[], asked: PlanConfigInput, source: ModelSource, limitBytes: number): Proposal | undefined {
  const config = changes.reduce((value, change) => change.apply(value), asked);
  const reasons = changes.flatMap((c) => c.why ?? []);
  try {
    const resolved = resolvePlanConfig(config);
    if (!changes.some((c) => c.groupsBlocks)) return { config, plan: planRun(resolved, source), reasons };
    const { layers } = readModelConfig(source.config, source.path);
    const plan = smallestGroups(layers.length, limitBytes, (checkpointing) => planRun({ ...resolved, checkpointing }, source));
    return { config: { ...config, checkpointing: plan.checkpointing }, plan, reasons };
  } catch (error) {
    if (error instanceof FinetuneError && error.code === 'ERR_CONFIG_INVALID') return undefined;
    throw error;
  }
}

/** Recomputation costs about a third of the time, of groups another fifth, and changes no result. */
function blockChanges({ checkpointing }: PlanConfig): Change[] {
  if (typeof checkpointing === 'number') return [asAsked];
  const groups = (cost: number): Change => ({
    cost,
    why: 'checkpointing by groups of blocks: keeps one input a group and runs most blocks twice more; same results, about half slower',
    groupsBlocks: true,
    apply: (c) => c,
  });
  if (checkpointing === 'block') return [asAsked, groups(0.6)];
  const why = 'checkpointing block: activations are made again from the inputs of blocks; same results, about a third slower';
  return [asAsked, { cost: 1, why, apply: (c) => ({ ...c, checkpointing: 'block' }) }, groups(1.6)];
}

/** Smaller passes of the same step change no result; without accumulation the step itself gets smaller. */
function batchChanges({ batchSize, gradientAccumulationSteps }: PlanConfig): Change[] {
  const total = batchSize * gradientAccumulationSteps;
  const smaller = Array.from({ length: batchSize - 1 }, (_, i) => batchSize - 1 - i).filter((n) => total % n === 0);
  const accumulated = smaller.map((n): Change => {
    const why = 'gradientAccumulationSteps: the same step in smaller passes; same results up to rounding';
    return {
      cost: 0.4 * Math.log2(batchSize / n),
      why,
      accumulates: true,
      apply: (c) => ({ ...c, batchSize: n, gradientAccumulationSteps: total / n }),
    };
  });
  const plain = smaller.map((n): Change => {
    const single = gradientAccumulationSteps > 1 && { gradientAccumulationSteps: 1 };
    const why = 'batchSize: smaller steps, whose gradients are noisier';
    return { cost: 1.5 * Math.log2(total / n), why, apply: (c) => ({ ...c, batchSize: n, ...single }) };
  });
  return [asAsked, ...accumulated, ...plain];
}

/** Results differ a little. */
function dtypeChanges({ dtype }: PlanConfig): Change[] {
  if (dtype === 'bf16') return [asAsked];
  const why = 'dtype bf16: activations with 8 bits of precision; results differ a little';
  return [asAsked, { cost: 1.5, why, apply: (c) => ({ ...c, dtype: 'bf16' }) }];
}

/** Examples lose their ends. */
function lengthChanges({ maxLength }: PlanConfig): Change[] {
  const changes = [asAsked];
  for (let length = Math.floor(maxLength / 2), n = 1; length >= shortestLength; length = Math.floor(length / 2), n++) {
    const shorter = length;
    const why = 'maxLength: longer examples lose their ends';
    changes.push({ cost: 3 * n, why, apply: (c) => ({ ...c, maxLength: shorter }) });
  }
  return changes;
}

/** Other training: no gradients, then no state either, then adapters only. */
function methodChanges({ method, optimizer, fused }: PlanConfig): Change[] {
  if (method.type === 'lora') return [asAsked];
  const { trainLastLayers } = method;
  const changes = [asAsked];
  if (optimizer.type === 'adamw' && !fused)
    changes.push({
      cost: 2,
      why: 'optimizer.fused: no gradients are kept, and their norm is not clipped',
      apply: (c) => ({ ...withoutClipping(c), optimizer: { ...optimizer, fused: true } }),
    });
  if (optimizer.type !== 'lomo')
    changes.push({
      cost: 4,
      why: 'optimizer lomo: neither gradients nor states; plain descent with a learning rate of its own',
      apply: (c) => ({ ...withoutClipping(withOwnRate(c)), optimizer: { type: 'lomo' } }),
    });
  const lora = { type: 'lora' as const, ...(trainLastLayers !== undefined && { trainLastLayers }) };
  const why = 'method lora: small adapters are trained instead of the weights';
  changes.push({ cost: 5, why, apply: (c) => ({ ...withOwnRate(c), method: lora, optimizer: { type: 'adamw' } }) });
  return changes;
}

/** Tiles, then scratch files: of what is needed once a step first, of what every product reads last. Each with those before. */
function streamChanges({ batchSize, maxLength, mlpTileRows }: PlanConfig): Change[] {
  const rows = Math.min(mlpTileRows ?? tileRows, Math.max(32, Math.floor((batchSize * maxLength) / 2)));
  const tiles: Change = {
    cost: 6,
    why: `mlpTileRows ${rows}: the MLP runs on ${rows} tokens at a time and makes gate and up again; same losses, a little slower`,
    apply: (c) => ({ ...c, mlpTileRows: rows }),
  };
  const offloaded = (cost: number, part: 'activations' | 'optimizer' | 'weights', what: string, before: Change): Change => ({
    cost,
    why: [before.why ?? [], `offload.${part}: ${what}; same results, slow once the system has no room to cache them`].flat(),
    apply: (c) => withOffloaded(before.apply(c), part),
  });
  const activations = offloaded(8, 'activations', 'block inputs lie in a scratch file, written and read once a step', tiles);
  const optimizer = offloaded(10, 'optimizer', 'states, and gradients that are kept, lie in scratch files as well', activations);
  const weights = offloaded(
    12,
    'weights',
    'weights that are trained or quantized on load lie there as well, read several times a step',
    optimizer,
  );
  return [tiles, activations, optimizer, weights];
}

function withOffloaded(config: PlanConfigInput, part: 'activations' | 'optimizer' | 'weights'): PlanConfigInput {
  const offload = { ...config.offload, [part]: true };
  if (part !== 'optimizer') return { ...config, offload };
  const { fused, optimizer } = resolvePlanConfig({ ...config, offload: {} });
  return { ...config, offload: { ...offload, ...(!fused && !optimizerOf(optimizer).forwardOnly && { gradients: true }) } };
}

/** The global norm is not known in fused training. */
function withoutClipping(config: PlanConfigInput): PlanConfigInput {
  return config.maxGradNorm ? { ...config, maxGradNorm: 0 } : config;
}

/** The learning rate of one kind of training is wrong for another. */
function withOwnRate(config: PlanConfigInput): PlanConfigInput {
  return typeof config.learningRate === 'number' ? { ...config, learningRate: 'auto' } : config;
}
