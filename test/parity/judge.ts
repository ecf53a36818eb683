import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SafetensorsSource } from '../../lib/formats/safetensors.js';
import { largestDifference } from './model-session.js';

const scripts = join(import.meta.dirname, '..', '..', 'scripts', 'judges');
const python = process.env.NODE_FINETUNE_PYTHON;

/** Whether a Python with torch, transformers and peft was named; tests that need it skip otherwise. */
export const hasPython = python !== undefined && python !== '';

if (!hasPython)
  console.warn('Tests that let transformers and peft judge are skipped: set NODE_FINETUNE_PYTHON (scripts/judges/README.md).');

/** Runs jobs by a script of scripts/judges in one process. Throws with its messages when it fails. */
export function judge(
  script: 'peft_logits.py' | 'make_peft_adapter.py' | 'peft_training.py',
  folder: string,
  jobs: readonly object[],
): void {
  const file = writeInput(folder, `${script}.jobs.json`, jobs);
  execFileSync(python as string, [join(scripts, script), '--jobs', file], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 300_000 });
}

/** A JSON file for a judge. */
export function writeInput(folder: string, name: string, value: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(value));
  return path;
}

/** Largest difference between logits and those a judge wrote, over all sequences. */
export function distanceFromJudge(logits: readonly ArrayLike<number>[], file: string): number {
  const source = SafetensorsSource.openFile(file);
  const differences = logits.map((got, i) => largestDifference(got, source.tensor(`logits.${i}`).read()));
  source.close();
  return Math.max(...differences);
}
