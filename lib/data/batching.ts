import { FinetuneError } from '../native/errors.js';
import { countTargets, type Example, ignoredLabel } from './example.js';
import { packBestFit } from './packing.js';
import { permutation } from './shuffle.js';

/** Sequences one after the other, without padding (N tokens, S sequences). */
export interface MicroBatch {
  /** Token ids. (N) */
  inputIds: Int32Array;
  /** The label of the next token of the same sequence, -100 at its end and where it is not learned. (N) */
  targets: Int32Array;
  /** From 0 in each sequence. (N) */
  positions: Int32Array;
  /** Where the sequences begin, and N. (S+1) */
  cuSeqlens: Int32Array;
  /** Positions with a target, ascending: the rows that the loss needs. */
  labelRows: Int32Array;
  /** The examples, in their order here. (S) */
  exampleIndices: number[];
}

export interface BatchOptions {
  /** Sequences of a micro-batch, or packed bins of `maxLength` tokens. */
  batchSize: number;
  /** Micro-batches of an optimizer step. */
  gradientAccumulationSteps: number;
  /** Fill bins of `maxLength` tokens with several sequences each. They stay apart through `cuSeqlens` and `positions`. */
  packing: boolean;
  /** Longest sequence, and size of a bin, in tokens. */
  maxLength: number;
  /** A new order every epoch; otherwise the order of the data. */
  shuffle: boolean;
  seed: number;
  /** A last step with fewer examples is kept, always. */
  dropLast?: false;
}

/** Keeps the random numbers of the order of bins apart from those of the order of examples. */
const orderStream = 0x6f726465;
const binStream = 0x62696e73;

/** Puts examples one after the other. */
export function collate(examples: readonly Example[], indices: readonly number[]): MicroBatch {
  const chosen = indices.map((i) => examples[i] as Example);
  const total = chosen.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const inputIds = new Int32Array(total);
  const targets = new Int32Array(total).fill(ignoredLabel);
  const positions = new Int32Array(total);
  const cuSeqlens = new Int32Array(chosen.length + 1);
  let start = 0;
  for (const [s, example] of chosen.entries()) {
    const length = example.inputIds.length;
    inputIds.set(example.inputIds, start);
    targets.set(example.labels.subarray(1), start);
    for (let i = 0; i < length; i++) positions[start + i] = i;
    start += length;
    cuSeqlens[s + 1] = start;
  }
  const rows = new Int32Array(total);
  let labels = 0;
  for (let i = 0; i < total; i++) if (targets[i] !== ignoredLabel) rows[labels++] = i;
  return { inputIds, targets, positions, cuSeqlens, labelRows: rows.slice(0, labels), exampleIndices: [...indices] };
}

/**
 * Which examples form which optimizer step. The same examples, options and epoch always give the same micro-batches, so (epoch, step) is all
 * that a checkpoint has to keep. Every example comes exactly once in an epoch; packing changes only which ones come together.
 */
export class BatchPlan {
  /** Upper bounds over every micro-batch of every epoch. */
  readonly capacity: { tokens: number; sequences: number; labelTokens: number };

  private readonly examples: readonly Example[];
  private readonly options: BatchOptions;
  private readonly lengths: Int32Array;
  private cached: { epoch: number; groups: number[][] } | undefined;

  /** Throws ERR_CONFIG_INVALID for wrong numbers, no examples, or examples longer than `maxLength`. */
  constructor(examples: readonly Example[], options: BatchOptions) {
    checkOptions(examples, options);
    this.examples = examples;
    this.options = options;
    this.lengths = Int32Array.from(examples, ({ inputIds }) => inputIds.length);
    this.capacity = options.shuffle ? this.boundOverEpochs() : this.largestGroups();
  }

  /** Optimizer steps of an epoch, the last one perhaps smaller. */
  stepsPerEpoch(epoch: number): number {
    return Math.ceil(this.groups(epoch).length / this.options.gradientAccumulationSteps);
  }

  /** The micro-batches of an optimizer step. `epoch` and `index` count from 0. */
  step(epoch: number, index: number): MicroBatch[] {
    const steps = this.stepsPerEpoch(epoch);
    if (!Number.isInteger(index) || index < 0 || index >= steps) {
      throw new FinetuneError('ERR_INTERNAL', `Epoch ${epoch} has the steps 0 to ${steps - 1}; asked for ${index}.`);
    }
    const { gradientAccumulationSteps: count } = this.options;
    return this.groups(epoch)
      .slice(index * count, (index + 1) * count)
      .map((group) => collate(this.examples, group));
  }

  /** The examples of every micro-batch of an epoch. */
  private groups(epoch: number): number[][] {
    if (this.cached?.epoch === epoch) return this.cached.groups;
    const { batchSize, packing } = this.options;
    const order = this.order(epoch);
    const units = packing ? this.bins(order, epoch) : Array.from(order, (i) => [i]);
    const groups: number[][] = [];
    for (let i = 0; i < units.length; i += batchSize) groups.push(units.slice(i, i + batchSize).flat());
    this.cached = { epoch, groups };
    return groups;
  }

  private order(epoch: number): Int32Array {
    const { length } = this.examples;
    return this.options.shuffle ? permutation(length, this.options.seed, orderStream, epoch) : Int32Array.from({ length }, (_, i) => i);
  }

  /** Packing sorts by length; bins are put into random order, or the order of their first example, so that training is not sorted. */
  private bins(order: Int32Array, epoch: number): number[][] {
    const bins = packBestFit(this.lengths, order, this.options.maxLength);
    if (this.options.shuffle) return Array.from(permutation(bins.length, this.options.seed, binStream, epoch), (i) => bins[i] as number[]);
    for (const bin of bins) bin.sort((a, b) => a - b);
    return bins.sort((a, b) => (a[0] as number) - (b[0] as number));
  }

  /** Without shuffling all epochs are alike. */
  private largestGroups(): BatchPlan['capacity'] {
    const targets = this.examples.map(({ labels }) => countTargets(labels));
    const capacity = { tokens: 0, sequences: 0, labelTokens: 0 };
    for (const group of this.groups(0)) {
      capacity.tokens = Math.max(capacity.tokens, sum(group.map((i) => this.lengths[i] as number)));
      capacity.sequences = Math.max(capacity.sequences, group.length);
      capacity.labelTokens = Math.max(capacity.labelTokens, sum(group.map((i) => targets[i] as number)));
    }
    return capacity;
  }

  /**
   * The fullest examples, or bins, might meet. Lengths of bins and of what is in them are the same every epoch (`packBestFit`); which of the
   * examples of one length is where is not, so the most targets that any of them has are counted.
   */
  private boundOverEpochs(): BatchPlan['capacity'] {
    const { packing, batchSize } = this.options;
    const order = this.order(0);
    const units = packing ? packBestFit(this.lengths, order, this.options.maxLength) : Array.from(order, (i) => [i]);
    const most = new Map<number, number>();
    for (const { inputIds, labels } of this.examples) {
      most.set(inputIds.length, Math.max(most.get(inputIds.length) ?? 0, countTargets(labels)));
    }
    const bound = (size: (unit: number[]) => number): number => sumOfLargest(units.map(size), batchSize);
    return {
      tokens: bound((unit) => sum(unit.map((i) => this.lengths[i] as number))),
      sequences: bound((unit) => unit.length),
      labelTokens: bound((unit) => sum(unit.map((i) => most.get(this.lengths[i] as number) as number))),
    };
  }
}

function checkOptions(examples: readonly Example[], options: BatchOptions): void {
  for (const name of ['batchSize', 'gradientAccumulationSteps', 'maxLength'] as const) {
    if (Number.isInteger(options[name]) && options[name] >= 1) continue;
    throw new FinetuneError('ERR_CONFIG_INVALID', `${name}: wanted an integer from 1; came ${options[name]}.`);
  }
  if (examples.length === 0) throw new FinetuneError('ERR_DATA_INVALID', 'There are no examples to train on.');
  const long = examples.find(({ inputIds }) => inputIds.length > options.maxLength);
  if (!long) return;
  throw new FinetuneError(
    'ERR_CONFIG_INVALID',
    `An example of row ${long.row} has ${long.inputIds.length} tokens, more than maxLength ${options.maxLength}: load the data with the same maxLength.`,
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function sumOfLargest(values: number[], count: number): number {
  return sum(values.sort((a, b) => b - a).slice(0, count));
}
