import type { Checkpointing } from '../models/causal-lm.js';

/** Bytes of one run by category, known before anything is loaded. */
export interface MemoryPlan {
  /** Frozen weights that stay in the file: read through the system's page cache, not counted in `total`. */
  weightsMapped: number;
  /** Of weightsMapped: scales and minima of quantized blocks. */
  quantizationMapped: number;
  /** Weights in private memory: trained ones, adapters, and frozen ones that were quantized on load or had to be copied. */
  weights: number;
  /** Of weights: scales and minima of quantized blocks. */
  quantization: number;
  gradients: number;
  optimizer: number;
  /**
   * Weights that are trained or quantized on load, kept gradients, optimizer states and block inputs in scratch files: not counted in
   * `total`.
   */
  weightsOffloaded: number;
  gradientsOffloaded: number;
  optimizerOffloaded: number;
  activationsOffloaded: number;
  /** Sum of the four: bytes of scratch files, read and written through the system's page cache. */
  offloaded: number;
  /** Peak of everything that lives inside a step; its parts at that moment are the next four, and gaps between them. */
  arena: number;
  /** Inputs of blocks kept for recomputation, at the arena's peak; 0 without checkpointing. */
  checkpoints: number;
  /** Activations kept for the backward pass, of all blocks or, with checkpointing, of the one at work, at the arena's peak. */
  saved: number;
  /** Gradients of activations and other tensors of the layer at work, at the arena's peak. */
  transient: number;
  /** Scratch of the op that runs at the arena's peak: packing buffers, logit chunks, gradient strips. */
  workspace: number;
  /** Batch, tables and scalars that live as long as the run. */
  other: number;
  /** weights + gradients + optimizer + arena + other. */
  total: number;
}

/** What was planned for: enough to reproduce the plan. */
export interface PlanReport {
  model: string;
  modelType: string;
  method: string;
  optimizer: string;
  device: string;
  dtype: string;
  batchSize: number;
  maxLength: number;
  /** Tokens of the largest micro-batch. */
  tokens: number;
  packing: boolean;
  /** What is kept for the backward pass: everything, block inputs, or the input of every Nth block. */
  checkpointing: Checkpointing;
  fused: boolean;
  totalParameters: number;
  trainableParameters: number;
  bytes: MemoryPlan;
}

export interface StepEvent {
  type: 'step';
  /** Optimizer steps done, from 1. */
  step: number;
  steps: number;
  epoch: number;
  /** Mean negative log-likelihood per learned token of the whole step, in nats. */
  loss: number;
  /** Global L2 norm before clipping; absent in fused mode, where no gradient exists. */
  gradNorm?: number;
  learningRate: number;
  /** Tokens of this step / of them learned. */
  tokens: number;
  labelTokens: number;
  tokensPerSecond: number;
  /** Bytes of native memory now and at peak, file maps not counted. */
  memory: { now: number; peak: number };
  /** Estimated time to the end, in ms. */
  etaMs: number;
}

export interface EvalEvent {
  type: 'eval';
  step: number;
  /** Token-weighted mean, in nats. */
  loss: number;
  perplexity: number;
  tokens: number;
  /** Whether this is the lowest loss so far. */
  best: boolean;
}

export interface TrainResult {
  status: 'completed' | 'stopped' | 'early-stopped';
  steps: number;
  finalLoss: number;
  bestEvalLoss?: number;
  bestStep?: number;
  /** Folder of the adapter or model that was written. */
  out: string;
  /** Last checkpoint written, if any. */
  checkpoint?: string;
  peakBytes: number;
  plannedBytes: number;
  tokens: number;
  elapsedMs: number;
}

/** Everything a run reports, JSON-serializable: CLI `--json`, callbacks and dashboards share it. */
export type TrainEvent =
  | {
      type: 'start';
      report: PlanReport;
      steps: number;
      epochs: number;
      startStep: number;
      trainExamples: number;
      validationExamples: number;
      warnings: string[];
    }
  | StepEvent
  | EvalEvent
  | { type: 'checkpoint'; step: number; path: string; best: boolean }
  | { type: 'warning'; message: string }
  | { type: 'done'; result: TrainResult };
