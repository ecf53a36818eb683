import { allocate, release } from '../core/memory.js';
import { Program } from '../core/program.js';
import { Tensor } from '../core/tensor.js';
import type { LoadedModel } from '../loaded-model.js';
import { BatchBuffers } from '../models/batch.js';

/** Logits [T, V] in f32 of every position of one sequence, in native memory; dispose it when done. */
export function sequenceLogits(model: LoadedModel, ids: ArrayLike<number>): Tensor {
  model.assertOpen();
  const tokens = ids.length;
  const shape = [tokens, model.lm.config.vocabSize];
  const capacity = { tokens, sequences: 1, labelTokens: 1 };
  const dry = new BatchBuffers(capacity, 'f32', true).full();
  const program = new Program(model, (run) => model.lm.logits(dry, undefined, Tensor.dry('f32', shape), run));
  const buffers = new BatchBuffers(capacity, 'f32', false);
  try {
    const arena = allocate(program.bytes, 'arena');
    try {
      const inputIds = Int32Array.from(ids);
      const positions = inputIds.map((_, i) => i);
      const none = new Int32Array(0);
      const batch = buffers.load({ inputIds, targets: none, positions, cuSeqlens: Int32Array.of(0, tokens), labelRows: none }, 1);
      const y = Tensor.allocate('f32', shape, 'other', 'logits');
      try {
        program.run(arena, (run) => model.lm.logits(batch, undefined, y, run));
        return y;
      } catch (error) {
        y.dispose();
        throw error;
      }
    } finally {
      release(arena);
    }
  } finally {
    buffers.dispose();
  }
}
