import type { TrainConfig } from '../config/defaults.js';
import { threads } from '../core/device.js';
import { memoryStatistics } from '../core/memory.js';
import { BatchPlan } from '../data/batching.js';
import { type Dataset, loadDataset } from '../data/dataset.js';
import { Tokenizer } from '../data/tokenizer.js';
import { assertOutputFolder } from '../formats/atomic-file.js';
import { type ModelSource, openModel } from '../formats/model-source.js';
import type { BatchCapacity } from '../models/batch.js';
import { readModelConfig } from '../models/index.js';
import { native } from '../native/loader.js';
import { scheduleFactor } from '../optimizers/schedules.js';
import { checkTokens } from './check-tokens.js';
import { Checkpoints, type RunState } from './checkpoint.js';
import { cursors, totalSteps } from './cursor.js';
import { evaluateAll } from './evaluate.js';
import type { TrainEvent, TrainResult } from './events.js';
import { assertFits } from './memory-limit.js';
import { planRun, reportOf } from './plan.js';
import { ProgressClock } from './progress-clock.js';
import { assertRoom, saveResult } from './save-result.js';
import { Session } from './session.js';

/** How the loop talks to whoever started it. */
export interface TrainHooks {
  emit(event: TrainEvent): void;
  /** Polled after every step: finish, write a checkpoint, return with status `stopped`. */
  shouldStop(): boolean;
}

interface Prepared {
  source: ModelSource;
  session: Session;
  train: BatchPlan;
  validation: BatchPlan | undefined;
  state: RunState;
  checkpoints: Checkpoints;
  steps: number;
  memory: () => { now: number; peak: number };
}

/** A whole training run: data, plan, steps, evaluations, checkpoints, result. Runs on the calling thread. */
export async function runTraining(config: TrainConfig, hooks: TrainHooks): Promise<TrainResult> {
  if (config.threads !== undefined) threads(config.threads);
  if (config.resume === undefined) assertOutputFolder(config.out, config.overwrite);
  const source = openModel(config.model);
  try {
    const prepared = await prepare(config, source, hooks);
    try {
      return runSteps(config, prepared, hooks);
    } finally {
      prepared.session.dispose();
    }
  } finally {
    source.weights?.close();
  }
}

async function prepare(asked: TrainConfig, source: ModelSource, hooks: TrainHooks): Promise<Prepared> {
  const model = readModelConfig(source.config, source.path);
  const data = await loadData(asked, source);
  checkTokens(data.all, model, source.path);
  const train = batchPlan(data.train, asked, asked.shuffle);
  const validation = data.validation.length > 0 ? batchPlan(data.validation, { ...asked, gradientAccumulationSteps: 1 }, false) : undefined;
  const capacity = largest(train.capacity, validation?.capacity);

  const planned = planRun(asked, source, capacity);
  assertFits(planned, asked.memoryLimit);
  const config = { ...asked, checkpointing: planned.checkpointing };
  const checkpoints = new Checkpoints(config);
  const memory = memoryMeter();
  const session = new Session({ config, model, weights: source.weights, capacity, dry: false });
  try {
    assertRoom(session, config, config.out);
    const state = checkpoints.start(session, data.hash);
    const steps = totalSteps(train, config);
    hooks.emit({
      type: 'start',
      report: reportOf(session, config, source.path, capacity),
      steps,
      epochs: config.epochs ?? 0,
      startStep: state.step,
      trainExamples: data.train.length,
      validationExamples: data.validation.length,
      warnings: data.warnings,
    });
    return { source, session, train, validation, state, checkpoints, steps, memory };
  } catch (error) {
    session.dispose();
    throw error;
  }
}

async function loadData(config: TrainConfig, source: ModelSource) {
  const tokenizer = source.tokenizer && Tokenizer.fromJson(source.tokenizer.tokenizerJson, source.tokenizer.tokenizerConfig);
  const { maxLength, trainOn, format, seed, appendEos, promptsAsChat } = config;
  const options = {
    maxLength,
    trainOn,
    format,
    seed,
    appendEos,
    promptsAsChat,
    ...(config.cacheDir !== undefined && { cacheDir: config.cacheDir }),
  };
  const data = await loadDataset(config.data, tokenizer, { ...options, validationSplit: config.validationSplit });
  const held: Dataset | undefined =
    config.validationData === undefined ? undefined : await loadDataset(config.validationData, tokenizer, options);
  return {
    train: data.train,
    validation: held?.examples ?? data.validation,
    all: [...data.examples, ...(held?.examples ?? [])],
    hash: data.hash,
    warnings: [...data.report.warnings, ...(held?.report.warnings ?? [])],
  };
}

function batchPlan(examples: Dataset['examples'], config: TrainConfig, shuffle: boolean): BatchPlan {
  const { batchSize, gradientAccumulationSteps, packing, maxLength, seed } = config;
  return new BatchPlan(examples, { batchSize, gradientAccumulationSteps, packing, maxLength, shuffle, seed });
}

function largest(a: BatchCapacity, b: BatchCapacity | undefined): BatchCapacity {
  if (!b) return a;
  return {
    tokens: Math.max(a.tokens, b.tokens),
    sequences: Math.max(a.sequences, b.sequences),
    labelTokens: Math.max(a.labelTokens, b.labelTokens),
  };
}

function runSteps(config: TrainConfig, prepared: Prepared, hooks: TrainHooks): TrainResult {
  const { session, train, validation, state, checkpoints, steps, source, memory } = prepared;
  const { schedule, evaluation, checkpoint } = config;
  const warmupSteps = schedule.warmupRatio === undefined ? schedule.warmupSteps : Math.round(schedule.warmupRatio * steps);
  const clock = new ProgressClock();
  let status: TrainResult['status'] = 'completed';

  const evaluate = (step: number): void => {
    if (!validation || state.evaluatedStep === step) return;
    const result = evaluateAll(session, validation);
    const best = state.bestLoss === undefined || result.loss < state.bestLoss;
    state.evaluatedStep = step;
    state.evaluationsWithoutBest = best ? 0 : state.evaluationsWithoutBest + 1;
    hooks.emit({ type: 'eval', step, ...result, best });
    if (best) {
      state.bestLoss = result.loss;
      state.bestStep = step;
      if (evaluation.keepBest) save(step, true);
    }
    clock.resume();
  };
  const save = (step: number, best: boolean): void => {
    if (state.savedStep === step && !best) return;
    state.savedStep = step;
    hooks.emit({ type: 'checkpoint', step, path: checkpoints.save(session, source, state, best), best });
    clock.resume();
  };

  const data = cursors(train, state.step);
  while (state.step < steps) {
    const { epoch, index, endOfEpoch } = data.next().value;
    const step = state.step + 1;
    const learningRate = config.learningRate * scheduleFactor({ ...schedule, warmupSteps }, step, steps);
    const result = session.step(train.step(epoch, index), step, learningRate);
    state.step = step;
    state.loss = result.loss;
    state.tokens += result.tokens;
    const { tokensPerSecond, etaMs } = clock.step(result.tokens, steps - step);
    if (step % config.logEverySteps === 0 || step === steps) {
      hooks.emit({
        type: 'step',
        step,
        steps,
        epoch,
        loss: result.loss,
        ...(result.gradNorm !== undefined && { gradNorm: result.gradNorm }),
        learningRate,
        tokens: result.tokens,
        labelTokens: result.labelTokens,
        tokensPerSecond,
        memory: memory(),
        etaMs,
      });
    }
    const due = evaluation.everySteps === undefined ? endOfEpoch : step % evaluation.everySteps === 0;
    if (due || step === steps) evaluate(step);
    if (checkpoint.everySteps !== undefined && step % checkpoint.everySteps === 0) save(step, false);
    if (evaluation.earlyStoppingPatience !== undefined && state.evaluationsWithoutBest >= evaluation.earlyStoppingPatience) {
      status = 'early-stopped';
      break;
    }
    if (hooks.shouldStop() && step < steps) {
      save(step, false);
      status = 'stopped';
      break;
    }
  }

  if (status !== 'stopped') {
    if (evaluation.keepBest && state.bestStep !== undefined && state.bestStep !== state.step) checkpoints.loadBest(session, state);
    saveResult(session, source, config, config.out, { overwrite: true, final: true });
  }
  const result: TrainResult = {
    status,
    steps: state.step,
    finalLoss: state.loss,
    ...(state.bestLoss !== undefined && { bestEvalLoss: state.bestLoss }),
    ...(state.bestStep !== undefined && { bestStep: state.bestStep }),
    out: config.out,
    ...(checkpoints.latest !== undefined && { checkpoint: checkpoints.latest }),
    peakBytes: memory().peak,
    plannedBytes: session.plan().total,
    tokens: state.tokens,
    elapsedMs: clock.elapsedMs,
  };
  hooks.emit({ type: 'done', result });
  return result;
}

/** Native memory of this run, file maps not counted: what was there before, of other models in the process, is taken off. */
function memoryMeter(): () => { now: number; peak: number } {
  native((a) => a.resetPeak());
  const before = memoryStatistics().heapCurrent;
  return () => {
    const { heapCurrent, heapPeak } = memoryStatistics();
    return { now: heapCurrent - before, peak: heapPeak - before };
  };
}
