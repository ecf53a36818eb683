import type { DType } from '../core/dtype.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { writeFileAtomic } from './atomic-file.js';
import { safetensorsDTypes } from './safetensors-header.js';
import { byteChunks } from './tensor-store.js';

/** A tensor with the name it gets in the file. */
export interface NamedTensor {
  name: string;
  tensor: Tensor;
}

const fileTypes = new Map(Object.entries(safetensorsDTypes).map(([fileType, dtype]) => [dtype as DType, fileType]));

/**
 * Writes tensors as they are to a safetensors file, copied out of native memory in bounded pieces. The file appears whole or not
 * at all. Order is that of the tensors.
 * @throws ERR_MODEL_UNSUPPORTED for storage types the format has no name for, ERR_FILE
 */
export function writeSafetensors(path: string, tensors: readonly NamedTensor[], metadata: Record<string, string> = { format: 'pt' }): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const { name, tensor } of tensors) {
    const dtype = fileTypes.get(tensor.dtype);
    if (!dtype)
      throw new FinetuneError('ERR_MODEL_UNSUPPORTED', `${path}: safetensors has no type ${tensor.dtype} (tensor ${name}); convert it first`, { name });
    header[name] = { dtype, shape: tensor.shape, data_offsets: [at, at + tensor.bytes] };
    at += tensor.bytes;
  }
  writeFileAtomic(path, (sink) => {
    const json = Buffer.from(JSON.stringify(header), 'utf8');
    // Padded with spaces so that the data begins at a multiple of 8, as the reference implementation does.
    const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, 0x20);
    json.copy(padded);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    sink.write(length);
    sink.write(padded);
    for (const { tensor } of tensors) for (const chunk of byteChunks(tensor)) sink.write(chunk);
  });
}
