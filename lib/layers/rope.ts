import type { Run } from '../core/run.js';
import { Tensor } from '../core/tensor.js';
import type { RopeConfig } from '../models/decoder-config.js';
import * as ops from '../native/ops.js';
import type { RopeTable } from './attention.js';

/** Rotary embedding of a set of layers: inverse frequencies in native memory, tables per batch. */
export class Rope {
  private readonly inverseFrequencies: Tensor;
  private readonly attentionFactor: number;

  constructor(config: RopeConfig, dtype: 'f32' | 'f64', dry: boolean) {
    const shape = [config.inverseFrequencies.length];
    this.inverseFrequencies = dry
      ? Tensor.dry(dtype, shape, 'rope.inverse_frequencies')
      : Tensor.from(dtype, shape, Array.from(config.inverseFrequencies), 'other', 'rope.inverse_frequencies');
    this.attentionFactor = config.attentionFactor;
  }

  /** cos and sin [N, R] of positions [N]; free both when the batch is done. */
  table(positions: Tensor, run: Run): RopeTable {
    const shape = [positions.numElements, this.inverseFrequencies.numElements];
    const cos = run.saved('rope.cos', shape, run.accumulator);
    const sin = run.saved('rope.sin', shape, run.accumulator);
    ops.ropeTable(run, { positions, invFreq: this.inverseFrequencies, cos, sin, scale: this.attentionFactor });
    return { cos, sin };
  }

  get bytes(): number {
    return this.inverseFrequencies.bytes;
  }

  dispose(): void {
    if (!this.inverseFrequencies.isDry) this.inverseFrequencies.dispose();
  }
}
