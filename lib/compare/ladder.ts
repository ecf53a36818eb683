import type { PlanConfigInput } from '../config/schema.js';

/** A step of the ladder: what it changes in the settings of the one before. */
export interface Rung {
  name: string;
  change: Partial<PlanConfigInput>;
  /** The logits of all tokens and their gradient exist at once. This package never makes them: their bytes are computed. */
  wholeLogits?: true;
}

/** From training as it comes to the least memory, each rung on top of those before; the last two train adapters instead. */
export const rungs: readonly Rung[] = [
  {
    name: 'baseline: full, adamw, whole logits',
    change: { method: { type: 'full' }, optimizer: { type: 'adamw' }, packing: false, checkpointing: 'none' },
    wholeLogits: true,
  },
  { name: '+ packing', change: { packing: true }, wholeLogits: true },
  { name: '+ chunked loss', change: {} },
  { name: '+ checkpointing', change: { checkpointing: 'block' } },
  { name: '+ fused update', change: { optimizer: { type: 'adamw', fused: true } } },
  { name: '+ 8-bit states', change: { optimizer: { type: 'adamw', fused: true, stateDtype: '8bit' } } },
  { name: '+ quantized base, lora', change: { method: { type: 'lora' }, quantize: 'nf4' } },
  { name: '+ streamed', change: { offload: { weights: true, optimizer: true, activations: true } } },
];

/** Bytes of the logits of `tokens` tokens and of their gradient, both in f32, as PyTorch's cross entropy has them. */
export function wholeLogitsBytes(tokens: number, vocabSize: number): number {
  return 2 * 4 * tokens * vocabSize;
}
