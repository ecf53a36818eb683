import { formatBytes } from './cli/format.js';
import { type Column, formatTable } from './cli/table.js';
import type { PlanConfigInput } from './config/schema.js';
import type { Checkpointing } from './models/causal-lm.js';
import type { Measurement } from './trainer/measure.js';

/** A way of training, as a row of the memory table. */
export interface TrainingVariant {
  name: string;
  settings: Pick<PlanConfigInput, 'method' | 'optimizer'>;
}

const lora = { type: 'lora', rank: 16 } as const;
const full = { type: 'full', dtype: 'f32' } as const;
const fullBf16 = { type: 'full', dtype: 'bf16' } as const;

/** Methods and optimizers that differ in memory. */
export const trainingVariants: readonly TrainingVariant[] = [
  { name: 'lora r16, adamw', settings: { method: lora } },
  { name: 'lora r16, fused adamw', settings: { method: lora, optimizer: { type: 'adamw', fused: true } } },
  { name: 'lora r16, sgd', settings: { method: lora, optimizer: { type: 'sgd' } } },
  { name: 'full, adamw', settings: { method: full } },
  { name: 'full, adamw with bf16 state', settings: { method: full, optimizer: { type: 'adamw', stateDtype: 'bf16' } } },
  { name: 'full, fused adamw', settings: { method: full, optimizer: { type: 'adamw', fused: true } } },
  { name: 'full, sgd', settings: { method: full, optimizer: { type: 'sgd' } } },
  { name: 'full, lomo', settings: { method: full, optimizer: { type: 'lomo' } } },
  { name: 'full in bf16, lomo', settings: { method: fullBf16, optimizer: { type: 'lomo' } } },
  { name: 'last layer, adamw', settings: { method: { ...full, trainLastLayers: 1 } } },
];

/** One measured variant. */
export interface MemoryRow {
  name: string;
  checkpointing: Checkpointing;
  measurement: Measurement;
}

export const memoryColumns: readonly Column[] = [
  { title: 'method' },
  { title: 'checkpointing' },
  ...['weights', 'gradients', 'optimizer', 'activations', 'batch', 'planned', 'measured'].map((title) => ({
    title,
    align: 'right' as const,
  })),
];

/**
 * Cells of a row under memoryColumns. Activations are everything that lives inside a step; frozen weights that stay in the model
 * file are not counted. Measured is `= planned` only where every byte agrees.
 */
export function memoryCells({ name, checkpointing, measurement }: MemoryRow): string[] {
  const { plan, measuredBytes, arenaBytes } = measurement;
  const { weights, gradients, optimizer, arena, other, total } = plan.bytes;
  const agrees = measuredBytes === total && arenaBytes === arena;
  const bytes = [weights, gradients, optimizer, arena, other, total].map((n) => (n === 0 ? '0' : formatBytes(n)));
  return [name, String(checkpointing), ...bytes, agrees ? '= planned' : formatBytes(measuredBytes - plan.bytes.arena + arenaBytes)];
}

/** The table for people. */
export function memoryTable(rows: readonly MemoryRow[]): string {
  return formatTable([...memoryColumns], rows.map(memoryCells));
}
