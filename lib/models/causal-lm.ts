import type { Module } from '../core/module.js';
import type { Parameter } from '../core/parameter.js';
import type { Run } from '../core/run.js';
import type { Tensor } from '../core/tensor.js';
import type { KeyValueCache, Sequences } from '../layers/attention.js';
import type { BlockSaved, DecoderBlock } from '../layers/decoder-block.js';
import type { Linear } from '../layers/linear.js';
import type { RmsNorm } from '../layers/rms-norm.js';
import type { Rope } from '../layers/rope.js';
import * as ops from '../native/ops.js';
import type { Batch } from './batch.js';
import type { DecoderConfig } from './decoder-config.js';

/**
 * Recomputation of activations (Chen et al. 2016, arXiv 1604.06174): keep all of them, only the input of every block, or only the input
 * of every Nth block. Of a group of N the inputs in between are made again before its backward pass, and then block after block as
 * with `block`: N - 1 of N blocks run forward three times, and L / N + N inputs are the most that lie in memory.
 */
export type Checkpointing = 'none' | 'block' | number;

/** Per-token results of an evaluation, each [n] over the label rows. */
export interface LossOutputs {
  nll?: Tensor;
}

/** Decoder-only language model: embedding, blocks, final norm, head (tied or not). */
export class CausalLm implements Module {
  readonly config: DecoderConfig;
  /** [V, C] */
  readonly embedding: Parameter;
  readonly blocks: readonly DecoderBlock[];
  readonly norm: RmsNorm;
  /** [V, C]; the embedding itself when tied. */
  readonly head: Parameter;
  private readonly ropes: readonly Rope[];

  constructor(parts: {
    config: DecoderConfig;
    embedding: Parameter;
    blocks: readonly DecoderBlock[];
    norm: RmsNorm;
    head: Parameter;
    ropes: readonly Rope[];
  }) {
    this.config = parts.config;
    this.embedding = parts.embedding;
    this.blocks = parts.blocks;
    this.norm = parts.norm;
    this.head = parts.head;
    this.ropes = parts.ropes;
    if (this.head === this.embedding) this.embedding.uses = 2;
  }

  /** Every parameter once, in checkpoint order; adapters after the layer they belong to. */
  *parameters(): Iterable<Parameter> {
    yield this.embedding;
    for (const b of this.blocks) yield* b.parameters();
    yield this.norm.weight;
    if (this.head !== this.embedding) yield this.head;
  }
  /** Linear layers of the blocks: what adapters can be put on. */
  *linears(): Iterable<Linear> {
    for (const b of this.blocks) yield* b.linears();
  }

  /**
   * Adds the weighted loss of the batch to batch.lossSum and delivers every weight gradient to run.sink.
   * afterLoss runs when the loss is known and no weight has changed yet: the place to stop a run that went astray.
   */
  forwardBackward(batch: Batch, run: Run, checkpointing: Checkpointing, afterLoss: () => void): void {
    const sequences = this.sequences(batch.positions, batch.cuSeqlens, batch.cuSeqlens, run);
    const lowest = this.lowestTrained();

    const group = checkpointing === 'none' ? 0 : checkpointing === 'block' ? 1 : checkpointing;
    const keepsInput = (i: number): boolean => i >= lowest && i < this.blocks.length && (group === 0 || (i - lowest) % group === 0);

    let h = this.embed(batch.ids, run, group > 0 && keepsInput(0));
    const inputs: Tensor[] = [];
    const saved: (BlockSaved | undefined)[] = [];
    this.blocks.forEach((block, i) => {
      let y: Tensor;
      if (i >= lowest && group === 0) {
        const result = block.forwardSaving(h, sequences, run, true);
        y = result.y as Tensor;
        saved[i] = result.saved;
      } else {
        y = block.forward(h, sequences, run, undefined, group > 0 && keepsInput(i + 1));
      }
      if (keepsInput(i)) inputs[i] = h;
      else run.free(h);
      h = y;
    });

    const d = this.lossBackward(h, batch, run, afterLoss);
    run.free(h);
    for (let i = this.blocks.length - 1; i >= lowest; i--) {
      const block = this.blocks[i] as DecoderBlock;
      if (!inputs[i]) this.recomputeInputs(i - ((i - lowest) % group), i, inputs, sequences, run);
      const x = inputs[i] as Tensor;
      const kept = saved[i] ?? block.forwardSaving(x, sequences, run, false).saved;
      block.backward(d, x, kept, sequences, run, i > lowest || this.embedding.trainable);
      run.free(x);
    }
    run.sink?.embedding(this.embedding, batch.ids, d, this.config.embeddingScale, run);
    run.free(d);
    this.freeSequences(sequences, run);
    run.sink?.finish(run);
  }

  /** Adds the weighted loss of the batch to batch.lossSum; no gradients. */
  loss(batch: Batch, run: Run, outputs: LossOutputs = {}): void {
    const h = this.trunk(batch, run);
    const { n, gathered } = this.headInput(h, batch.labelRows, run);
    ops.linearCrossEntropy(run, {
      h: n,
      weight: this.head.value,
      targets: batch.targets,
      weights: batch.weights,
      lossSum: batch.lossSum,
      nll: outputs.nll,
      softcap: this.config.logitSoftcap,
    });
    run.free(n, gathered, h);
  }

  /** Logits [n, V] in f32 of the given rows of a batch; rows undefined = all. */
  logits(batch: Batch, rows: Tensor | undefined, y: Tensor, run: Run): void {
    const h = this.trunk(batch, run);
    this.project(h, rows, y, run);
    run.free(h);
  }

  /** Logits of `rows` after putting new tokens in the caches, one per layer, at their positions; cuK counts them in. */
  decode(
    tokens: { ids: Tensor; positions: Tensor; cuQ: Tensor; cuK: Tensor; rows: Tensor | undefined },
    caches: readonly KeyValueCache[],
    y: Tensor,
    run: Run,
  ): void {
    const sequences = this.sequences(tokens.positions, tokens.cuQ, tokens.cuK, run);
    let h = this.embed(tokens.ids, run);
    this.blocks.forEach((block, i) => {
      const next = block.forward(h, sequences, run, caches[i]);
      run.free(h);
      h = next;
    });
    this.project(h, tokens.rows, y, run);
    run.free(h);
    this.freeSequences(sequences, run);
  }

  /** Index of the first block with something to train below or in it; its input gradient is needed only for the embedding. */
  lowestTrained(): number {
    if (this.embedding.trainable) return 0;
    const first = this.blocks.findIndex((b) => b.trains);
    return first === -1 ? this.blocks.length : first;
  }

  /** Bytes that live as long as the model besides its parameters. */
  get otherBytes(): number {
    return this.ropes.reduce((sum, r) => sum + r.bytes, 0);
  }

  dispose(): void {
    for (const r of this.ropes) r.dispose();
  }

  // Inputs up to that of block `last`, from that of `first`; the weights below are still those of the forward pass.
  private recomputeInputs(first: number, last: number, inputs: Tensor[], sequences: Sequences, run: Run): void {
    for (let i = first; i < last; i++) inputs[i + 1] = (this.blocks[i] as DecoderBlock).forward(inputs[i] as Tensor, sequences, run);
  }

  private embed(ids: Tensor, run: Run, keeps = false): Tensor {
    const shape = [ids.numElements, this.config.hiddenSize];
    const h = keeps ? run.checkpoint('embedding.y', shape) : run.empty('embedding.y', shape);
    ops.embeddingForward(run, { ids, weight: this.embedding.value, y: h, scale: this.config.embeddingScale });
    return h;
  }

  private sequences(positions: Tensor, cuQ: Tensor, cuK: Tensor, run: Run): Sequences {
    return { cuQ, cuK, positions, ropes: this.ropes.map((r) => r.table(positions, run)) };
  }

  private freeSequences(sequences: Sequences, run: Run): void {
    for (const { cos, sin } of sequences.ropes) run.free(cos, sin);
  }

  private trunk(batch: Batch, run: Run): Tensor {
    const sequences = this.sequences(batch.positions, batch.cuSeqlens, batch.cuSeqlens, run);
    let h = this.embed(batch.ids, run);
    for (const block of this.blocks) {
      const y = block.forward(h, sequences, run);
      run.free(h);
      h = y;
    }
    this.freeSequences(sequences, run);
    return h;
  }

  // The head runs only for rows that carry loss.
  private headInput(h: Tensor, rows: Tensor, run: Run, rstd?: Tensor): { n: Tensor; gathered: Tensor } {
    const shape = [rows.numElements, this.config.hiddenSize];
    const gathered = run.empty('head.rows', shape);
    ops.gatherRows(run, { x: h, index: rows, y: gathered });
    const n = run.empty('head.norm', shape);
    this.norm.forward(gathered, n, rstd, run);
    return { n, gathered };
  }

  private project(h: Tensor, rows: Tensor | undefined, y: Tensor, run: Run): void {
    const n = run.empty('head.norm', [y.rows, this.config.hiddenSize]);
    if (rows) {
      const gathered = run.empty('head.rows', n.shape);
      ops.gatherRows(run, { x: h, index: rows, y: gathered });
      this.norm.forward(gathered, n, undefined, run);
      run.free(gathered);
    } else {
      this.norm.forward(h, n, undefined, run);
    }
    ops.linearForward(run, { x: n, weight: this.head.value, y });
    run.free(n);
    if (this.config.logitSoftcap > 0) ops.softcapForward(run, { x: y, y, softcap: this.config.logitSoftcap });
  }

  private keptLogitGradient(count: number, run: Run): Tensor | undefined {
    if (!run.sink?.keepsLogitGradient(this.head)) return undefined;
    return run.saved('head.dlogits', [count, this.head.shape[0] as number], run.dtype === 'bf16' ? 'bf16' : run.accumulator);
  }

  /** Loss and the gradient [N, C] of the last block's output. */
  private lossBackward(h: Tensor, batch: Batch, run: Run, afterLoss: () => void): Tensor {
    const { sink } = run;
    const count = batch.labelRows.numElements;
    const rstd = run.empty('head.rstd', [count], run.accumulator);
    const { n, gathered } = this.headInput(h, batch.labelRows, run, rstd);
    const dweight = sink?.headBuffer(this.head, run);
    const deliver = sink !== undefined && this.head.trainable && dweight === undefined;
    const lse = deliver ? run.empty('head.lse', [count], run.accumulator) : undefined;
    const dlogits = deliver ? this.keptLogitGradient(count, run) : undefined;
    const dn = run.empty('head.dnorm', n.shape);
    const { targets, weights, lossSum } = batch;
    const softcap = this.config.logitSoftcap;
    ops.linearCrossEntropy(run, { h: n, weight: this.head.value, targets, weights, lossSum, dh: dn, dweight, lse, dlogits, softcap });
    afterLoss();
    if (dweight) sink?.headDelivered(this.head, run);
    const kept = deliver && sink.head(this.head, { h: n, targets, weights, lse: lse as Tensor, dlogits, softcap }, run);
    this.norm.backward(dn, gathered, rstd, dn, undefined, run);
    if (!kept) run.free(n, lse, dlogits);
    run.free(gathered, rstd);
    const d = run.empty('d', h.shape);
    ops.scatterRows(run, { x: dn, index: batch.labelRows, y: d });
    run.free(dn);
    return d;
  }
}
