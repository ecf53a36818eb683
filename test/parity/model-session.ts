import { resolvePlanConfig } from '../../lib/config/resolve.js';
import type { PlanConfigInput } from '../../lib/config/schema.js';
import { Arena } from '../../lib/core/arena.js';
import type { DeviceName } from '../../lib/core/device.js';
import type { FloatType } from '../../lib/core/dtype.js';
import { allocate, release } from '../../lib/core/memory.js';
import { Run } from '../../lib/core/run.js';
import { Tensor } from '../../lib/core/tensor.js';
import { openModel } from '../../lib/formats/model-source.js';
import { BatchBuffers, type HostBatch } from '../../lib/models/batch.js';
import { readModelConfig } from '../../lib/models/index.js';
import { Session } from '../../lib/trainer/session.js';

/** How a test computes: the float64 oracle, or the product in f32. */
export interface Arithmetic {
  device: DeviceName;
  dtype: FloatType;
}

export const oracle: Arithmetic = { device: 'ref', dtype: 'f64' };
export const product: Arithmetic = { device: 'cpu', dtype: 'f32' };

/** A session on a model folder, large enough for the batches. Weight decay applies to every parameter, as in torch.optim. */
export function openSession(
  path: string,
  options: Omit<PlanConfigInput, 'model'>,
  batches: readonly HostBatch[],
  arithmetic: Arithmetic,
): Session {
  const largest = (size: (b: HostBatch) => number) => Math.max(...batches.map(size));
  const source = openModel(path);
  return new Session({
    config: resolvePlanConfig({ model: path, ...options }),
    model: readModelConfig(source.config),
    weights: source.weights,
    capacity: {
      tokens: largest((b) => b.inputIds.length),
      sequences: largest((b) => b.cuSeqlens.length - 1),
      labelTokens: largest((b) => b.labelRows.length),
    },
    dry: false,
    weightDecayOn: 'all',
    ...arithmetic,
  });
}

/** Logits [N, V] of every row of a batch. */
export function logitsOf(session: Session, host: HostBatch, { device, dtype }: Arithmetic): Float64Array | Float32Array {
  const accumulator = dtype === 'f64' ? 'f64' : 'f32';
  const { model } = session;
  const n = host.inputIds.length;
  const capacity = { tokens: n, sequences: host.cuSeqlens.length - 1, labelTokens: host.labelRows.length };
  const shape = [n, model.config.vocabSize];

  const recording = new Arena();
  const dryBatch = new BatchBuffers(capacity, accumulator, true).full();
  model.logits(dryBatch, undefined, Tensor.dry(accumulator, shape), new Run({ device, dtype, arena: recording }));
  const plan = recording.finish();

  const buffers = new BatchBuffers(capacity, accumulator, false);
  const memory = allocate(plan.peakBytes, 'arena');
  const y = Tensor.allocate(accumulator, shape, 'other', 'logits');
  model.logits(buffers.load(host, 1), undefined, y, new Run({ device, dtype, arena: new Arena(plan), memory }));
  const values = y.read();
  y.dispose();
  release(memory);
  buffers.dispose();
  return values as Float64Array | Float32Array;
}

/** Largest absolute difference. */
export function largestDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs((got[i] as number) - (want[i] as number));
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}
