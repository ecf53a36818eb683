import type { CommandList, OpContext } from '../native/call.js';
import type { Arena, ArenaRole } from './arena.js';
import { type DeviceName, deviceIndex } from './device.js';
import { bytesOfShape, type DType, type FloatType } from './dtype.js';
import { drySegment, type Segment } from './memory.js';
import { randomKey } from './rng.js';
import type { GradientSink } from './sink.js';
import { Tensor } from './tensor.js';

export interface RunOptions {
  device: DeviceName;
  /** Type of activations and their gradients. f64 on `ref` only. */
  dtype: FloatType;
  arena: Arena;
  /** Memory of the arena; undefined = dry: shapes and bytes only. */
  memory?: Segment | undefined;
  /** Where weight gradients go; undefined outside training. */
  sink?: GradientSink | undefined;
  seed?: number;
  /** Optimizer step and micro-batch within it: keys of the random numbers. */
  step?: number;
  microBatch?: number;
  /** Rows of a gated MLP at a time; undefined: all of them. */
  mlpTileRows?: number | undefined;
  /** Memory of block inputs that are kept for the backward pass, where it is not the arena's; without memory: dry. */
  inputs?: { arena: Arena; memory?: Segment | undefined } | undefined;
  /** Where op calls are noted instead of run. */
  commands?: CommandList | undefined;
}

/** One program over an arena: a micro-batch, an evaluation batch, a decoding step. Layers allocate from it and call ops with it. */
export class Run implements OpContext {
  readonly device: DeviceName;
  readonly deviceIndex: number;
  readonly dtype: FloatType;
  /** Type of row statistics and gradient sums: f32, or f64 when activations are f64. */
  readonly accumulator: 'f32' | 'f64';
  readonly dry: boolean;
  /** Rows of a gated MLP at a time; undefined: all of them. */
  readonly mlpTileRows: number | undefined;
  private currentSink: GradientSink | undefined;
  readonly commands: CommandList | undefined;
  private readonly arena: Arena;
  private readonly memory: Segment;
  private readonly inputs: { arena: Arena; memory: Segment } | undefined;
  private readonly seed: number;
  private readonly step: number;
  private readonly microBatch: number;
  private workspace: number | undefined;
  private row = 0;

  constructor(options: RunOptions) {
    this.device = options.device;
    this.deviceIndex = deviceIndex(options.device);
    this.dtype = options.dtype;
    this.accumulator = options.dtype === 'f64' ? 'f64' : 'f32';
    this.dry = options.memory === undefined;
    this.memory = options.memory ?? { id: drySegment, bytes: 0 };
    this.arena = options.arena;
    const { inputs } = options;
    this.inputs = inputs && { arena: inputs.arena, memory: inputs.memory ?? { id: drySegment, bytes: 0 } };
    this.currentSink = options.sink;
    this.mlpTileRows = options.mlpTileRows;
    this.commands = options.commands;
    this.seed = options.seed ?? 0;
    this.step = options.step ?? 0;
    this.microBatch = options.microBatch ?? 0;
  }

  /** A tensor of the arena with undefined contents; give it back with free. Type defaults to the run's activation type. */
  empty(name: string, shape: readonly number[], dtype: DType = this.dtype, role: ArenaRole = 'transient'): Tensor {
    const offset = this.arena.allocate(bytesOfShape(dtype, shape), name, role);
    return new Tensor(this.memory, offset, dtype, shape, name);
  }

  /** Like empty, for what backward will need. */
  saved(name: string, shape: readonly number[], dtype: DType = this.dtype): Tensor {
    return this.empty(name, shape, dtype, 'saved');
  }

  /** Like saved, for the input of a block that is recomputed from it: offloaded where the run does so. */
  checkpoint(name: string, shape: readonly number[]): Tensor {
    const { inputs } = this;
    if (!inputs) return this.empty(name, shape, this.dtype, 'checkpoints');
    const offset = inputs.arena.allocate(bytesOfShape(this.dtype, shape), name, 'checkpoints');
    return new Tensor(inputs.memory, offset, this.dtype, shape, name);
  }

  /** Gives arena tensors back; using one afterwards throws. Views of them must not be used either. */
  free(...tensors: (Tensor | undefined)[]): void {
    for (const t of tensors) {
      if (!t) continue;
      t.assertLive();
      t.markFreed();
      const arena = t.segment === this.inputs?.memory ? this.inputs.arena : this.arena;
      arena.free(t.byteOffset);
    }
  }

  /** Runs `body` several times, each on the same memory: what it allocates it must free. See Arena.repeat. */
  repeat(times: number, body: (index: number) => void): void {
    this.arena.repeat(times, body);
  }

  /** Runs `body` with gradients going to `sink`. */
  withSink(sink: GradientSink, body: () => void): void {
    const before = this.currentSink;
    this.currentSink = sink;
    try {
      body();
    } finally {
      this.currentSink = before;
    }
  }

  /** Runs `body` on a tile of rows of the batch, which begins at `row`. */
  atRow(row: number, body: () => void): void {
    const before = this.row;
    this.row = row;
    try {
      body();
    } finally {
      this.row = before;
    }
  }

  /** Row of the batch that the tensors at work begin with: 0 outside a tile. */
  get firstRow(): number {
    return this.row;
  }

  /** Where weight gradients go now; undefined outside training. */
  get sink(): GradientSink | undefined {
    return this.currentSink;
  }

  /** Runs the ops called so far; before a tensor is read or written by hand in the middle of a program. */
  flush(): void {
    this.commands?.run();
    this.commands?.clear();
  }

  /** Key for dropout masks: depends on the run's seed, step, micro-batch and the layer, not on when it is asked for. */
  randomKey(stream: number): number {
    return randomKey(this.seed, this.step, this.microBatch, stream);
  }

  acquireWorkspace(op: string, bytes: number): { segment: number; offset: number } {
    this.workspace = this.arena.allocate(bytes, op, 'workspace');
    return { segment: this.memory.id, offset: this.workspace };
  }

  releaseWorkspace(): void {
    if (this.workspace !== undefined) this.arena.free(this.workspace);
    this.workspace = undefined;
  }
}
