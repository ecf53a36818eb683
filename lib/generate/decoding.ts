import { allocate, release, type Segment } from '../core/memory.js';
import { Program } from '../core/program.js';
import { randomKey } from '../core/rng.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import { layOutNamed, type TensorSpec } from '../core/tensor-block.js';
import type { KeyValueCache } from '../layers/attention.js';
import type { LoadedModel } from '../loaded-model.js';
import type { CommandList } from '../native/call.js';
import * as ops from '../native/ops.js';
import type { ResolvedGenerateOptions } from './options.js';

/** Tokens of a prompt that go through the model at once. */
const prefillTokens = 512;

type Buffer = 'ids' | 'positions' | 'cuQ' | 'cuK' | 'last' | 'logits' | 'token';

/**
 * One text as it grows: its keys and values, and programs for the prompt and for one token. All memory is allocated here; feeding
 * and sampling allocate nothing.
 */
export class Decoding {
  private readonly model: LoadedModel;
  private readonly chunk: number;
  private readonly buffers: Record<Buffer, Tensor>;
  private readonly caches: KeyValueCache[];
  private readonly programs: { prefill: Program; one: Program; sample: Program };
  /** The program for one token, ready to run. */
  private readonly next: CommandList;
  private readonly memory: Segment;
  private readonly cacheMemory: Segment;
  private readonly arena: Segment;
  private filled = 0;
  private disposed = false;

  /**
   * @param promptTokens tokens of the first feed, to size its pass
   * @param capacity tokens the text may reach
   */
  constructor(model: LoadedModel, promptTokens: number, capacity: number) {
    this.model = model;
    this.chunk = Math.min(prefillTokens, promptTokens);
    const { config } = model.lm;
    const layout = this.layout();
    const cacheLayout = cacheSpecs(config.layers.length, Math.ceil(capacity / 64) * 64, config.numKvHeads * config.headDim, model.dtype);
    const dry = { buffers: layOutNamed(layout, 'dry').tensors, caches: cachesOf(layOutNamed(cacheLayout, 'dry').tensors) };
    const record = (rows: number) => new Program(model, (run) => this.forward(rows, dry.buffers, dry.caches, run));
    this.programs = {
      prefill: record(this.chunk),
      one: record(1),
      sample: new Program(model, (run) => ops.sampleToken(run, { logits: dry.buffers.logits, token: dry.buffers.token })),
    };
    const bytes = Math.max(...Object.values(this.programs).map((p) => p.bytes));

    const owned: Segment[] = [];
    const own = <T extends { segment: Segment }>(block: T): T => {
      owned.push(block.segment);
      return block;
    };
    try {
      const buffers = own(layOutNamed(layout, 'other'));
      const cache = own(layOutNamed(cacheLayout, 'other'));
      const arena = own({ segment: allocate(bytes, 'arena') });
      [this.memory, this.cacheMemory, this.arena] = [buffers.segment, cache.segment, arena.segment];
      this.buffers = buffers.tensors;
      this.caches = cachesOf(cache.tensors);
      this.next = this.programs.one.compile(this.arena, (run) => this.forward(1, this.buffers, this.caches, run));
    } catch (error) {
      owned.forEach(release);
      throw error;
    }
    model.track(this);
  }

  /** Tokens fed so far. */
  get length(): number {
    return this.filled;
  }

  /** Feeds the next tokens, at most 512 at a time; logits() and sample() then speak of the token after the last one. */
  feed(ids: readonly number[]): void {
    this.model.assertOpen();
    const rows = ids.length;
    const { buffers, caches, filled } = this;
    const fill = (t: Tensor, values: readonly number[]) => t.slice(0, values.length).write(values);
    fill(buffers.ids, ids);
    fill(
      buffers.positions,
      ids.map((_, i) => filled + i),
    );
    buffers.cuQ.write([0, rows]);
    buffers.cuK.write([0, filled + rows]);
    buffers.last.write([rows - 1]);
    if (rows === 1) this.next.run();
    else this.programs.prefill.run(this.arena, (run) => this.forward(rows, buffers, caches, run));
    this.filled += rows;
  }

  /** Splits a prompt into pieces for feed. */
  *pieces(ids: readonly number[]): Iterable<readonly number[]> {
    for (let at = 0; at < ids.length; at += this.chunk) yield ids.slice(at, at + this.chunk);
  }

  /** Logits [V] of the next token. */
  logits(): Float32Array {
    this.model.assertOpen();
    return this.buffers.logits.read() as Float32Array;
  }

  /** Draws the next token; the draw depends on the seed and the position alone. */
  sample({ temperature, topK, topP, seed }: Pick<ResolvedGenerateOptions, 'temperature' | 'topK' | 'topP' | 'seed'>): number {
    this.model.assertOpen();
    const { logits, token } = this.buffers;
    this.programs.sample.run(this.arena, (run) =>
      ops.sampleToken(run, { logits, token, temperature, topK, topP, seed: randomKey(seed, this.filled) }),
    );
    return token.read()[0] as number;
  }

  /** Gives its memory back; may be called twice. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const segment of [this.memory, this.cacheMemory, this.arena]) release(segment);
    this.model.untrack(this);
  }

  private layout(): Record<Buffer, TensorSpec> {
    const i32 = (n: number): TensorSpec => ({ dtype: 'i32', shape: [n] });
    return {
      ids: i32(this.chunk),
      positions: i32(this.chunk),
      cuQ: i32(2),
      cuK: i32(2),
      last: i32(1),
      token: i32(1),
      logits: { dtype: 'f32', shape: [1, this.model.lm.config.vocabSize] },
    };
  }

  private forward(rows: number, buffers: Record<Buffer, Tensor>, caches: readonly KeyValueCache[], run: Run): void {
    const { ids, positions, cuQ, cuK, last, logits } = buffers;
    const tokens = { ids: ids.slice(0, rows), positions: positions.slice(0, rows), cuQ, cuK, rows: last };
    this.model.lm.decode(tokens, caches, logits, run);
  }
}

function cacheSpecs(layers: number, capacity: number, width: number, dtype: TensorSpec['dtype']): Record<string, TensorSpec> {
  const names = Array.from({ length: layers }, (_, i) => [`cache.${i}.k`, `cache.${i}.v`]).flat();
  return Object.fromEntries(names.map((name) => [name, { dtype, shape: [capacity, width] }]));
}

function cachesOf(tensors: Record<string, Tensor>): KeyValueCache[] {
  const all = Object.values(tensors);
  return Array.from({ length: all.length / 2 }, (_, i) => ({ k: all[2 * i] as Tensor, v: all[2 * i + 1] as Tensor }));
}
