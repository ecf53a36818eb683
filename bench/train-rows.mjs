// What `npm run bench:train` measures: the settings of each row for this package, the arguments of its peer and the method of its floor.

const lora = { method: { type: 'lora', rank: 16, alpha: 32 }, optimizer: { type: 'adamw', weightDecay: 0 }, learningRate: 1e-4 };
const full = { method: { type: 'full' }, learningRate: 1e-4 };

/**
 * AdamW as one takes it for the least memory: updates fused into the backward pass, moments in bf16, as the peer's are.
 * comparedWith: without a peer, compared with another row instead. labels: share of the tokens that carry loss. gguf: on the shared
 * SmolLM2-135M in Q4_1, left out where it is not there.
 */
export const trainRows = {
  'lora-bf16': { dtype: 'bf16', floor: 'lora', settings: lora },
  'lora-f32': { dtype: 'f32', floor: 'lora', settings: lora },
  'adamw-bf16': {
    dtype: 'bf16',
    floor: 'adamw',
    settings: { ...full, optimizer: { type: 'adamw', weightDecay: 0, fused: true, stateDtype: 'bf16' } },
  },
  'lomo-bf16': { dtype: 'bf16', floor: 'lomo', settings: { ...full, optimizer: { type: 'lomo', weightDecay: 0 } } },
  'lora-bf16-checkpointing': { dtype: 'bf16', floor: 'lora', checkpointing: true, settings: { ...lora, checkpointing: 'block' } },
  'lora-nf4': { dtype: 'bf16', floor: 'lora', comparedWith: 'lora-bf16', settings: { ...lora, quantize: 'nf4' } },
  'lora-int8': { dtype: 'bf16', floor: 'lora', comparedWith: 'lora-bf16', settings: { ...lora, quantize: 'int8' } },
  'lora-q4_1': { dtype: 'bf16', floor: 'lora', comparedWith: 'lora-bf16', gguf: true, settings: lora },
  'completions-only': { dtype: 'bf16', floor: 'lora', labels: 0.5, comparedWith: 'lora-bf16', settings: lora },
};

/** Settings of a run of this package. */
export function ownSettings({ dtype, settings }, { model, batch, length, threads }) {
  return { model, dtype, maxGradNorm: 0, batchSize: batch, maxLength: length, packing: false, threads, ...settings };
}

/** Arguments of torch_train.py. */
export function peerArguments({ dtype, floor, checkpointing, settings }, { model, batch, length, threads, steps, warmup }) {
  const numbers = { batch, length, threads, steps, warmup, 'learning-rate': settings.learningRate };
  return [
    model,
    ...['--method', floor, '--dtype', dtype],
    ...(checkpointing ? ['--checkpointing'] : []),
    ...(floor === 'lora' ? ['--rank', settings.method.rank, '--alpha', settings.method.alpha] : []),
    ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, value]),
  ].map(String);
}
