import type { DType } from '../core/dtype.js';
import { Tensor } from '../core/tensor.js';
import { add, fill, gatherRows } from '../native/ops.js';
import { corruptFile, shown, unsupportedFile } from './file-error.js';
import type { GgufFile, GgufTensor } from './gguf.js';
import { type GgufArchitecture, huggingFaceName, ropeTensors } from './gguf-names.js';
import { ggmlTypes, supportedGgmlTypes } from './gguf-types.js';
import { HostContext } from './host-ops.js';
import { isMisaligned, TensorStore } from './tensor-store.js';
import { missingTensor, type WeightInfo, type WeightSource } from './weights.js';

/** Sizes that the row order of q and k depends on. */
export interface HeadCounts {
  heads: number;
  kvHeads: number;
  layers: number;
}

/** Tensors of a GGUF file under Hugging Face names and in Hugging Face form. */
export class GgufWeights implements WeightSource {
  private readonly file: GgufFile;
  private readonly architecture: GgufArchitecture;
  private readonly counts: HeadCounts;
  private readonly entries = new Map<string, GgufTensor>();
  private readonly made = new Map<string, Tensor>();
  private readonly store = new TensorStore();
  private readonly context = new HostContext();

  /** Takes the file's map over: close() releases it. @throws ERR_MODEL_UNSUPPORTED naming storage types or tensors */
  constructor(file: GgufFile, architecture: GgufArchitecture, counts: HeadCounts) {
    this.file = file;
    this.architecture = architecture;
    this.counts = counts;
    for (const t of file.tensors.values()) {
      if (ropeTensors.includes(t.name)) continue;
      const name = huggingFaceName(t.name, architecture);
      const layer = Number(/^blk\.(\d+)\./.exec(t.name)?.[1] ?? 0);
      if (name === undefined || layer >= counts.layers)
        throw unsupportedFile(
          file.path,
          `a ${architecture.modelType} model with ${counts.layers} layers has no tensor ${shown(t.name)}`,
          'This variant is not supported.',
        );
      this.entries.set(name, t);
    }
    checkTypes(file);
    this.store.addMap(file.map);
  }

  names(): string[] {
    return [...this.entries.keys()];
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  info(name: string): WeightInfo {
    const t = this.entry(name);
    const dtype = ggmlTypes.get(t.type)?.dtype as DType;
    const isCopied = this.isPermuted(name) || this.isShifted(name) || isMisaligned(t.byteOffset, dtype);
    return { dtype, shape: [...t.shape], file: this.file.path, isCopied };
  }

  tensor(name: string): Tensor {
    let t = this.made.get(name);
    if (!t) {
      t = this.make(name);
      this.made.set(name, t);
    }
    return t;
  }

  drop(name: string): void {
    const t = this.made.get(name);
    if (t) this.store.free(t);
    this.made.delete(name);
  }

  privateBytes(): number {
    return this.store.privateBytes();
  }

  close(): void {
    this.made.clear();
    this.store.close();
  }

  private entry(name: string): GgufTensor {
    const t = this.entries.get(name);
    if (!t) throw missingTensor(this.file.path, name, this.names());
    return t;
  }

  private make(name: string): Tensor {
    const { dtype, shape } = this.info(name);
    const stored = this.store.view(this.file.map, this.entry(name).byteOffset, dtype, shape, name);
    if (this.isPermuted(name)) return this.unpermuted(stored, name.includes('.q_proj.') ? this.counts.heads : this.counts.kvHeads);
    return this.isShifted(name) ? this.minusOne(stored) : stored;
  }

  private isPermuted(name: string): boolean {
    return this.architecture.isPermuted && /\.[qk]_proj\.(?:weight|bias)$/.test(name);
  }

  private isShifted(name: string): boolean {
    return this.architecture.isNormShifted && /norm\.weight$/.test(name);
  }

  // The file's row 2 j + s of a head is row s * half + j of the Hugging Face form: the converter made the two halves that rotate
  // together into neighbours.
  private unpermuted(stored: Tensor, heads: number): Tensor {
    const rows = stored.shape[0] as number;
    const headDim = rows / heads;
    if (!Number.isInteger(headDim) || headDim % 2 !== 0)
      throw corruptFile(this.file.path, `tensor ${stored.name} has ${rows} rows, which are not ${heads} heads of an even size`);
    const half = headDim / 2;
    const index = Int32Array.from({ length: rows }, (_, row) => {
      const within = row % headDim;
      return row - within + 2 * (within % half) + Math.floor(within / half);
    });
    const cols = stored.shape[1] ?? 1;
    const copy = this.store.allocate(stored.dtype, stored.shape, stored.name);
    const indexTensor = Tensor.from('i32', [rows], index, 'other', `${stored.name} row order`);
    try {
      gatherRows(this.context, { x: stored.reshape([rows, cols]), index: indexTensor, y: copy.reshape([rows, cols]) });
    } finally {
      indexTensor.dispose();
    }
    return copy;
  }

  private minusOne(stored: Tensor): Tensor {
    const copy = this.store.allocate(stored.dtype, stored.shape, stored.name);
    fill(this.context, { y: copy, value: -1 });
    add(this.context, { a: stored, b: copy, y: copy });
    return copy;
  }
}

function checkTypes(file: GgufFile): void {
  const counts = new Map<string, number>();
  for (const t of file.tensors.values()) {
    const { name, dtype } = ggmlTypes.get(t.type) ?? { name: String(t.type) };
    if (!dtype) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size === 0) return;
  const found = [...counts].map(([name, count]) => `${name} (${count} tensors)`).join(', ');
  throw unsupportedFile(
    file.path,
    `it has tensors of the types ${found}`,
    `Supported are ${supportedGgmlTypes.join(', ')}: use such a file of the same model.`,
  );
}
