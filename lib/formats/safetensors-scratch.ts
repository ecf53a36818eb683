import { bytesOfShape } from '../core/dtype.js';
import { drySegment, isLinkable, linkScratch, type Segment } from '../core/memory.js';
import type { Placement } from '../core/scratch.js';
import { Tensor } from '../core/tensor.js';
import type { TensorBlock, TensorSpec } from '../core/tensor-block.js';
import { FinetuneError } from '../native/errors.js';
import { headerOf, inFileOrder } from './safetensors-writer.js';

/**
 * Tensors in one scratch file that is a safetensors file from the start, with the bytes that writeSafetensors writes: once they are
 * final, nameWeights makes it the result and nothing is copied. 'dry': shapes and bytes alone.
 * @throws ERR_FILE as ScratchFolder.map; ERR_INTERNAL for private memory
 */
export function layOutAsFile(specs: readonly (TensorSpec & { name: string })[], memory: Placement): TensorBlock {
  const inOrder = inFileOrder(specs.map(({ name, dtype, shape }) => ({ name, storedType: dtype, shape })));
  const header = headerOf(inOrder);
  const offsets = new Map<string, number>();
  let bytes = header.length;
  for (const { name, storedType, shape } of inOrder) {
    offsets.set(name, bytes);
    bytes += bytesOfShape(storedType, shape);
  }
  const segment = memory === 'dry' ? { id: drySegment, bytes } : mapFileOf(bytes, memory);
  if (memory !== 'dry') new Tensor(segment, 0, 'u8', [header.length], 'header').writeBytes(header);
  const tensors = specs.map(({ name, dtype, shape }) => new Tensor(segment, offsets.get(name) as number, dtype, shape, name));
  return { segment, tensors };
}

function mapFileOf(bytes: number, memory: Exclude<Placement, 'dry'>): Segment {
  if (typeof memory === 'string') throw new FinetuneError('ERR_INTERNAL', `weights in ${memory} are no file`);
  return memory.folder.map(bytes, memory.what, true);
}

/** Gives a file of layOutAsFile the name `path`; false where that cannot be, as on another file system. */
export function nameWeights(file: Segment, path: string): boolean {
  if (!isLinkable(file)) return false;
  try {
    linkScratch(file, path);
    return true;
  } catch (error) {
    if (error instanceof FinetuneError && error.code === 'ERR_FILE') return false;
    throw error;
  }
}
