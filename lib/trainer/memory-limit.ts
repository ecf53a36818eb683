import { FinetuneError } from '../native/errors.js';
import type { PlanReport } from './events.js';

const gib = (bytes: number) => (bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`);

/** @throws ERR_OUT_OF_MEMORY with the plan and what would shrink it, when the plan exceeds the limit */
export function assertFits(report: PlanReport, limitBytes: number | undefined): void {
  const { bytes } = report;
  if (limitBytes === undefined || bytes.total <= limitBytes) return;
  const parts = (['weights', 'gradients', 'optimizer', 'arena', 'other'] as const).map((k) => `${k} ${gib(bytes[k])}`);
  const suggestions = [
    report.checkpointing === 'none' && 'checkpointing block keeps only the input of each block',
    report.checkpointing === 'block' && 'checkpointing 4 keeps only the input of every fourth block',
    report.batchSize > 1 &&
      `batchSize ${Math.max(1, Math.floor(report.batchSize / 2))} with more gradientAccumulationSteps halves the activations`,
    report.maxLength > 256 && `maxLength ${Math.floor(report.maxLength / 2)} halves them too`,
    report.method === 'full' && !report.fused && 'optimizer lomo keeps neither gradients nor state; method lora trains adapters only',
    report.dtype === 'f32' && 'dtype bf16 halves activations',
    bytes.weights + bytes.optimizer > bytes.total / 2 &&
      'offload.weights and offload.optimizer put trained weights and states in a file on the disk, which is slower',
  ].filter((s): s is string => s !== false);
  throw new FinetuneError(
    'ERR_OUT_OF_MEMORY',
    `the plan needs ${gib(bytes.total)}, the limit is ${gib(limitBytes)}: ${parts.join(', ')}. What would help: ${suggestions.join('; ')}`,
    { device: report.device, requested: bytes.total, limit: limitBytes, plan: bytes, suggestions },
  );
}
