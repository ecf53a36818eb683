import { join } from 'node:path';
import type { PlanConfigInput } from '../../lib/config/schema.js';
import { SafetensorsSource } from '../../lib/formats/safetensors.js';
import type { HostBatch } from '../../lib/models/batch.js';
import type { Session } from '../../lib/trainer/session.js';
import { type GradientSummary, pack, readJson } from './fixture.js';

const folder = join(import.meta.dirname, '..', 'fixtures', 'trajectories');

export const initialAdapter = join(folder, 'lora-init');
export const finalAdapter = join(folder, 'lora-final.safetensors');

/** runs.json: see scripts/fixtures/make_trajectories.py. */
export interface Trajectory {
  method: 'lora' | 'full';
  steps: number;
  learningRate: number;
  weightDecay: number;
  rslora?: boolean;
  maxGradientNorm?: number;
  losses: number[];
  gradientNorms: number[];
  losses64: number[];
  gradientNorms64: number[];
  finalWeights?: Record<string, GradientSummary>;
}

export const trajectories = readJson<Record<string, Trajectory>>(folder, 'runs.json');

export const batchesFile = join(folder, 'batches.json');

/** The rows of every step, packed. */
export const batches: HostBatch[] = readJson<{ ids: number[]; labelsFrom: number }[][]>(batchesFile).map((rows) =>
  pack(
    rows.map((r) => r.ids),
    rows.map((r) => r.ids.map((id, i) => (i < r.labelsFrom ? -100 : id))),
  ),
);

export function settings(run: Trajectory): Omit<PlanConfigInput, 'model'> {
  return {
    method: run.method === 'full' ? { type: 'full', dtype: 'f32' } : { type: 'lora', rank: 8, alpha: 16, useRslora: run.rslora ?? false },
    optimizer: { type: 'adamw', weightDecay: run.weightDecay },
    maxGradNorm: run.maxGradientNorm ?? 0,
  };
}

/** Overwrites the trained parameters with the tensors of the same names. f32, or f64 from f32. */
export function setWeights(session: Session, file: string): void {
  const source = SafetensorsSource.openFile(file);
  for (const p of session.trained) p.value.write(source.tensor(p.name).read());
  source.close();
}
