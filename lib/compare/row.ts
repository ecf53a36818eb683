import type { PlanConfigInput } from '../config/schema.js';
import type { MemoryPlan, PlanReport } from '../trainer/events.js';

/** Categories of a compared plan in the order of the table; they add up to the total. */
export const categories = [
  'weights',
  'quantization',
  'gradients',
  'optimizer',
  'checkpoints',
  'activations',
  'workspace',
  'batch',
] as const;

/** Bytes of one way of training by category. */
export type ComparedBytes = Record<(typeof categories)[number], number> & {
  /** The sum of the categories. */
  total: number;
  /** Frozen weights that stay in the model file: read through the system's page cache, not in total. */
  inFile: number;
  /** What lies in scratch files: through the page cache as well, not in total. */
  offloaded: number;
};

/** What really running a row gave; all bytes. */
export interface MeasuredRow {
  /** Highest private native memory: equal to the planned total, or the plan is wrong. */
  total: number;
  /** Highest sum of scratch files: equal to what is planned of them. */
  offloaded: number;
  /** Peak resident memory of the whole process less what it had before the model was opened. */
  resident: number | undefined;
  /** Of the median step; undefined where too few say nothing. */
  tokensPerSecond: number | undefined;
  /** Loss of the same held-out rows before and after `steps` steps; undefined without data. */
  loss?: { before: number; after: number; steps: number } | undefined;
}

/** The same training in PyTorch. */
export interface PeerRow {
  /** Peak resident memory of the whole process less what it had once PyTorch was imported. */
  resident: number;
  tokensPerSecond: number | undefined;
}

/** One way of training a model, as a row of the comparison. */
export interface ComparisonRow {
  /** methods: every way of training on its own. ladder: each row on top of those before it. */
  part: 'methods' | 'ladder';
  name: string;
  checkpointing: 'none' | 'block';
  /** Settings that train this way. */
  config: PlanConfigInput;
  /** undefined where the row cannot be trained; then `note` says why. */
  plan: PlanReport | undefined;
  bytes: ComparedBytes | undefined;
  /** Bytes of bytes.activations that are computed, not planned: whole logits, which this package never makes. */
  computedBytes: number;
  note?: string;
  measured?: MeasuredRow;
  peer?: PeerRow;
}

/** A plan by the categories of the comparison, `computedBytes` of activations added. */
export function comparedBytes(plan: MemoryPlan, computedBytes = 0): ComparedBytes {
  return {
    weights: plan.weights - plan.quantization,
    quantization: plan.quantization,
    gradients: plan.gradients,
    optimizer: plan.optimizer,
    checkpoints: plan.checkpoints,
    // Gaps between tensors count here.
    activations: plan.arena - plan.checkpoints - plan.workspace + computedBytes,
    workspace: plan.workspace,
    batch: plan.other,
    total: plan.total + computedBytes,
    inFile: plan.weightsMapped,
    offloaded: plan.offloaded,
  };
}
