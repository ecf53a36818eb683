import { type DType, dtypes } from '../core/dtype.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { packNf4 } from '../native/ops.js';
import { corruptFile, shown, unsupportedFile } from './file-error.js';
import { HostContext } from './host-ops.js';
import { decodeUtf8, jsonProblem, parseJsonObject } from './json-file.js';
import { TensorStore } from './tensor-store.js';
import type { WeightInfo, WeightSource } from './weights.js';

const statePattern = /^(.*)\.quant_state\.bitsandbytes__(\w+)$/;
const partPattern = /\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__\w+)$/;
const maxStateBytes = 1 << 16;
const block = dtypes.nf4.blockElements;
/** Blocks that share a scale of scales. */
const nestedBlock = 256;

/** What the file says about one quantized weight. */
interface QuantState {
  dtype: 'nf4' | 'nf4_dq';
  shape: [number, number];
  offset: number;
}

/** Whether a checkpoint was written with bitsandbytes in 4 bits. */
export function isBitsAndBytes(weights: WeightSource): boolean {
  return weights.names().some((name) => statePattern.test(name));
}

/**
 * Weights that bitsandbytes quantized to NF4, with or without double quantization, as they are: codes and scales are put together
 * block by block in private memory, none is computed anew. Other tensors stay views of the file.
 */
export class BitsAndBytesWeights implements WeightSource {
  private readonly source: WeightSource;
  private readonly path: string;
  private readonly states = new Map<string, QuantState>();
  private readonly made = new Map<string, Tensor>();
  private readonly store = new TensorStore();

  /** Takes the source over: close() closes it. @throws ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED naming the tensor */
  constructor(source: WeightSource, path: string) {
    this.source = source;
    this.path = path;
    for (const name of source.names()) {
      const [, weight, kind] = statePattern.exec(name) ?? [];
      if (weight !== undefined) this.states.set(weight, this.readState(name, weight, kind as string));
    }
  }

  names(): string[] {
    return this.source.names().filter((name) => !partPattern.test(name));
  }

  has(name: string): boolean {
    return this.source.has(name) && !partPattern.test(name);
  }

  info(name: string): WeightInfo {
    const state = this.states.get(name);
    const info = this.source.info(name);
    return state ? { dtype: state.dtype, shape: [...state.shape], file: info.file, isCopied: true } : info;
  }

  tensor(name: string): Tensor {
    const state = this.states.get(name);
    if (!state) return this.source.tensor(name);
    let t = this.made.get(name);
    if (!t) {
      t = this.pack(name, state);
      this.made.set(name, t);
    }
    return t;
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

  close(): void {
    this.made.clear();
    this.store.close();
    this.source.close();
  }

  private readState(name: string, weight: string, kind: string): QuantState {
    const where = `tensor ${shown(weight)}`;
    if (kind !== 'nf4')
      throw unsupportedFile(
        this.path,
        `${where} was quantized to ${kind} by bitsandbytes`,
        'Supported is nf4 (bnb_4bit_quant_type); or take the unquantized model with quantize: nf4.',
      );
    const raw = this.source.tensor(name);
    if (raw.bytes > maxStateBytes) throw corruptFile(this.path, `the state of ${where} has ${raw.bytes} bytes, at most ${maxStateBytes}`);
    const text = decodeUtf8(raw.readBytes(), this.path);
    const problem = jsonProblem(text, 4);
    if (problem) throw corruptFile(this.path, `the state of ${where} is wrong: ${problem}`);
    const { blocksize, shape, nested_blocksize: nested, nested_offset: offset } = parseJsonObject(text, this.path);
    if (blocksize !== block || (nested !== undefined && nested !== nestedBlock))
      throw unsupportedFile(
        this.path,
        `${where} has blocks of ${shown(blocksize)}${nested === undefined ? '' : ` and ${shown(nested)}`}`,
        `Supported are blocks of ${block}, their scales in blocks of ${nestedBlock}, which are the defaults of bitsandbytes.`,
      );
    const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) > 0 && (n as number) < 2 ** 40;
    if (!Array.isArray(shape) || shape.length !== 2 || !shape.every(isSize))
      throw corruptFile(this.path, `the state of ${where} has the shape ${shown(shape)}, two sizes were expected`);
    const [rows, cols] = shape as [number, number];
    if (cols % block !== 0)
      throw unsupportedFile(
        this.path,
        `${where} has rows of ${cols} elements, which are not whole blocks of ${block}`,
        'Take the unquantized model.',
      );
    if (nested !== undefined && !(typeof offset === 'number' && Number.isFinite(offset)))
      throw corruptFile(this.path, `the state of ${where} has the nested_offset ${shown(offset)}, a number was expected`);
    const blocks = (rows * cols) / block;
    this.checkPart(weight, 'u8', (rows * cols) / 2);
    this.checkPart(`${weight}.absmax`, nested === undefined ? 'f32' : 'u8', blocks);
    this.checkPart(`${weight}.quant_map`, 'f32', 16);
    if (nested === undefined) return { dtype: 'nf4', shape: [rows, cols], offset: 0 };
    this.checkPart(`${weight}.nested_absmax`, 'f32', Math.ceil(blocks / nestedBlock));
    this.checkPart(`${weight}.nested_quant_map`, 'f32', 256);
    return { dtype: 'nf4_dq', shape: [rows, cols], offset: offset as number };
  }

  private checkPart(name: string, wanted: DType, elements: number): void {
    const { dtype, shape, file } = this.source.info(name);
    const found = shape.reduce((a, b) => a * b, 1);
    if (dtype !== wanted && name.endsWith('weight'))
      throw unsupportedFile(
        file,
        `tensor ${shown(name)} keeps its codes as ${dtype}`,
        'Save the model with bnb_4bit_quant_storage uint8, the default.',
      );
    if (dtype !== wanted || found !== elements)
      throw corruptFile(file, `tensor ${shown(name)} is ${dtype} [${shape}], ${elements} elements of ${wanted} were expected`);
  }

  private pack(name: string, { dtype, shape, offset }: QuantState): Tensor {
    const y = this.store.allocate(dtype, shape, name);
    const part = (suffix: string): Tensor => {
      const t = this.source.tensor(`${name}${suffix}`);
      return t.reshape([t.numElements]);
    };
    const nested = dtype === 'nf4_dq' ? { nested: part('.nested_absmax'), nestedMap: part('.nested_quant_map') } : {};
    try {
      packNf4(new HostContext(), { codes: part(''), absmax: part('.absmax'), map: part('.quant_map'), ...nested, y, offset });
    } catch (error) {
      if (!(error instanceof FinetuneError) || error.code !== 'ERR_SHAPE') throw error;
      throw unsupportedFile(
        this.path,
        `tensor ${shown(name)}: ${error.message}`,
        'Supported are the maps that bitsandbytes uses by default.',
      );
    }
    for (const suffix of ['', '.absmax', '.quant_map', '.nested_absmax', '.nested_quant_map'])
      if (this.source.has(`${name}${suffix}`)) this.source.drop(`${name}${suffix}`);
    return y;
  }
}
