import { type DType, dtypes, isQuantized } from '../core/dtype.js';
import { isLinearWeight } from '../core/parameter.js';
import type { Placement } from '../core/scratch.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { quantize } from '../native/ops.js';
import { corruptFile, shown, unsupportedFile } from './file-error.js';
import { HostContext } from './host-ops.js';
import { TensorStore } from './tensor-store.js';
import type { WeightInfo, WeightSource } from './weights.js';

/** Formats that weights are quantized to on load. */
export type QuantizeType = Extract<DType, 'int8' | 'nf4' | 'nf4_dq'>;

/** Settings of a run or a loaded model that decide it. */
export interface QuantizeSettings {
  quantize?: 'nf4' | 'int8' | undefined;
  doubleQuantization: boolean;
}

/** The format that settings ask for, if any. */
export function quantizeType({ quantize, doubleQuantization }: QuantizeSettings): QuantizeType | undefined {
  return quantize === 'nf4' && doubleQuantization ? 'nf4_dq' : quantize;
}

/**
 * A checkpoint with the linear layers of its blocks quantized while they are read: out of the mapped file into private memory or
 * scratch files, a row at a time, one tensor after the other. All other tensors stay as they are.
 */
export class QuantizedWeights implements WeightSource {
  private readonly source: WeightSource;
  private readonly type: QuantizeType;
  private readonly made = new Map<string, Tensor>();
  private readonly memory: Exclude<Placement, 'dry'>;
  private readonly store = new TensorStore();

  /** close() closes the source too. @throws ERR_CONFIG_INVALID for weights that are quantized already */
  constructor(source: WeightSource, type: QuantizeType, memory: Exclude<Placement, 'dry'> = 'weights') {
    this.source = source;
    this.type = type;
    this.memory = memory;
    for (const name of source.names()) {
      const { dtype, shape, file } = source.info(name);
      if (isLinearWeight(name, shape) && isQuantized(dtype))
        throw new FinetuneError(
          'ERR_CONFIG_INVALID',
          `${file}: the model is quantized already (${name} is ${dtype}); leave quantize out, it is trained on as it is`,
          { tensor: name, dtype },
        );
    }
  }

  names(): string[] {
    return this.source.names();
  }

  has(name: string): boolean {
    return this.source.has(name);
  }

  info(name: string): WeightInfo {
    const info = this.source.info(name);
    if (!isLinearWeight(name, info.shape)) return info;
    checkWholeBlocks(name, info.shape, this.type, info.file);
    return { ...info, dtype: this.type, isCopied: true };
  }

  tensor(name: string): Tensor {
    const { dtype, shape, file } = this.info(name);
    if (!isQuantized(dtype)) return this.source.tensor(name);
    const known = this.made.get(name);
    if (known) return known;
    const y = this.store.allocate(dtype, shape, name, this.memory);
    try {
      quantize(new HostContext(), { x: this.source.tensor(name), y });
    } catch (error) {
      if (!(error instanceof FinetuneError) || error.code !== 'ERR_SHAPE') throw error;
      throw corruptFile(
        file,
        `tensor ${shown(name)} cannot be quantized: ${error.message}`,
        'Take weights that are finite, or train without quantize.',
      );
    }
    this.source.drop(name);
    this.made.set(name, y);
    return y;
  }

  /** A tensor as the checkpoint has it. */
  original(name: string): Tensor {
    return this.source.tensor(name);
  }

  drop(name: string): void {
    const t = this.made.get(name);
    if (t) this.store.free(t);
    else this.source.drop(name);
    this.made.delete(name);
  }

  privateBytes(): number {
    return this.store.privateBytes() + this.source.privateBytes();
  }

  /** Gives back what was quantized; the source stays. */
  release(): void {
    this.made.clear();
    this.store.close();
  }

  close(): void {
    this.release();
    this.source.close();
  }
}

/** @throws ERR_MODEL_UNSUPPORTED for rows that are not whole blocks */
export function checkWholeBlocks(name: string, shape: readonly number[], type: QuantizeType, path: string): void {
  const { blockElements } = dtypes[type];
  if ((shape.at(-1) as number) % blockElements === 0) return;
  throw unsupportedFile(
    path,
    `tensor ${shown(name)} has rows of ${shape.at(-1)} elements, and ${type} quantizes blocks of ${blockElements}`,
    'Train this model without quantize.',
  );
}
