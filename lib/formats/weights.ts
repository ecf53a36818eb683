import type { DType } from '../core/dtype.js';
import type { Tensor } from '../core/tensor.js';
import { corruptFile, shown } from './file-error.js';

export interface WeightInfo {
  dtype: DType;
  shape: number[];
  file: string;
  /** Whether tensor() makes a private copy instead of a view of the map. */
  isCopied: boolean;
}

/** Tensors of a model's files under their Hugging Face names, whatever the file calls them. Holds the maps until close(). */
export interface WeightSource {
  /** e.g. model.layers.0.self_attn.q_proj.weight */
  names(): string[];
  has(name: string): boolean;
  /** @throws ERR_MODEL_CORRUPT when absent, ERR_MODEL_UNSUPPORTED when its storage type has no counterpart here */
  info(name: string): WeightInfo;
  /**
   * A view into the mapped file, made once. A private copy (category `weights`) only where the file's form differs from the
   * Hugging Face one (GGUF: q and k rows of llama, norms of Gemma; parts of bitsandbytes), its bytes are misaligned for the type, or
   * it is quantized on load.
   */
  tensor(name: string): Tensor;
  /** Gives back the private copy of a tensor, where one was made: the tensor is not used any more. */
  drop(name: string): void;
  /** Bytes that are copies rather than maps, so far. */
  privateBytes(): number;
  /** Releases maps and copies; tensors of this source throw ERR_DISPOSED from then on. */
  close(): void;
}

/** ERR_MODEL_CORRUPT for a tensor that the weights lack. */
export function missingTensor(path: string, name: string, names: string[]): Error {
  return corruptFile(
    path,
    `there is no tensor ${shown(name)} among its ${names.length} tensors`,
    'Check that config.json belongs to these weights.',
  );
}
