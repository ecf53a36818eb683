import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { formatCount } from './cli/format.js';
import { comparisonCaption } from './compare/caption.js';
import { formatComparison } from './compare/formats.js';
import { measuredRow } from './compare/measured.js';
import type { ComparisonRow } from './compare/row.js';
import { resolvePlanConfig } from './config/resolve.js';
import { loadModel } from './model.js';
import { packageRoot } from './native/loader.js';
import { planCompare } from './plan-compare.js';
import { measureTraining } from './trainer/measure.js';
import { train } from './trainer/training-run.js';

/** The model and the rows that come with the package; scripts/make-demo-model.mjs made both. */
export const demoModel = join(packageRoot, 'assets', 'demo-model');
export const demoData = join(packageRoot, 'assets', 'demo-data.jsonl');

export interface DemoOptions {
  write(text: string): unknown;
  /** Ends the demonstration with the signal's reason. */
  signal?: AbortSignal;
}

export interface DemoResult {
  /** Answers to demoQuestions before and after training. */
  before: string[];
  after: string[];
  /** Loss of every step. */
  losses: number[];
  memory: ComparisonRow[];
}

/** None of the animals asked about are in the rows that it learns from. */
export const demoQuestions = ['What does the cow eat?', 'Where does the lion live?', 'What does the mouse say?', 'Who are you?'];

const training = {
  method: { type: 'lora', rank: 8 },
  learningRate: 4e-3,
  schedule: { type: 'linear', warmupSteps: 4 },
  maxSteps: 40,
  batchSize: 2,
  maxLength: 128,
  seed: 1,
} as const;

const memoryBatch = { batchSize: 4, maxLength: 128 };
const measuredSteps = 2;

/**
 * Shows on the package's own model what the package does: answers, a LoRA training run, the changed answers, and the memory that
 * every method takes, planned beside measured. Leaves nothing behind.
 */
export async function runDemo({ write, signal }: DemoOptions): Promise<DemoResult> {
  const folder = mkdtempSync(join(tmpdir(), 'node-finetune-demo-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  // The process also ends without coming back here: a second signal, a reader that has seen enough.
  process.once('exit', remove);
  try {
    write('A Llama of 0.2 million parameters, which this package trained from random weights, answers questions about animals:\n\n');
    const before = await answers(undefined, signal);
    write(conversation(before));
    const adapter = join(folder, 'adapter');
    const losses = await trainAdapter(adapter, join(folder, 'cache'), write, signal);
    write('\nThe same questions, answered with the adapter. The cow, the lion and the mouse were in none of the rows:\n\n');
    const after = await answers(adapter, signal);
    write(conversation(after));
    const memory = await measureMethods(write, signal);
    return { before, after, losses, memory };
  } finally {
    process.off('exit', remove);
    remove();
  }
}

async function answers(adapter: string | undefined, signal: AbortSignal | undefined): Promise<string[]> {
  const model = await loadModel({ path: demoModel, ...(adapter !== undefined && { adapter }) });
  try {
    const all: string[] = [];
    for (const content of demoQuestions) {
      let answer = '';
      const options = { maxNewTokens: 40, ...(signal && { signal }) };
      for await (const text of model.generate([{ role: 'user', content }], options)) answer += text;
      all.push(answer);
    }
    return all;
  } finally {
    model.dispose();
  }
}

function conversation(all: readonly string[]): string {
  const width = Math.max(...demoQuestions.map((q) => q.length));
  return demoQuestions.map((question, i) => `  ${question.padEnd(width)}  ${all[i]}\n`).join('');
}

async function trainAdapter(
  out: string,
  cacheDir: string,
  write: DemoOptions['write'],
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const rows = readFileSync(demoData, 'utf8').trim().split('\n').length;
  const { method, maxSteps } = training;
  write(`\nNow it learns another manner: LoRA of rank ${method.rank}, ${maxSteps} steps on ${rows} rows.\n\n`);
  const run = train({ ...training, model: demoModel, data: demoData, out, cacheDir }, signal && { signal });
  const losses: number[] = [];
  for await (const event of run) {
    if (event.type !== 'step') continue;
    losses.push(event.loss);
    const { step, steps, loss, tokensPerSecond } = event;
    if (step !== 1 && step % 8 !== 0) continue;
    write(`  step ${String(step).padStart(2)}/${steps}  loss ${loss.toFixed(4)}  ${formatCount(Math.round(tokensPerSecond))} tok/s\n`);
  }
  const { peakBytes, plannedBytes } = await run;
  write(`\nThe run was planned to take ${formatCount(plannedBytes)} bytes, and took ${formatCount(peakBytes)}.\n`);
  return losses;
}

async function measureMethods(write: DemoOptions['write'], signal: AbortSignal | undefined): Promise<ComparisonRow[]> {
  const { batchSize, maxLength } = memoryBatch;
  write(`\nPrivate memory by method, each planned and then run on ${batchSize} x ${maxLength} tokens:\n\n`);
  const rows: ComparisonRow[] = [];
  for (const row of planCompare({ model: demoModel, ...memoryBatch })) {
    if (row.part !== 'methods' || row.checkpointing !== 'block' || !row.plan) continue;
    signal?.throwIfAborted();
    rows.push(measuredRow(row, measureTraining(resolvePlanConfig(row.config), measuredSteps)));
    await setImmediate();
  }
  write(formatComparison(rows, 'table', comparisonCaption(rows, 'The model of the package')));
  return rows;
}
