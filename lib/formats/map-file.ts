import { type Stats, statSync } from 'node:fs';
import { mapFile, type Segment } from '../core/memory.js';
import { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { corruptFile, fileError } from './file-error.js';

/** Maps a weight file. @throws ERR_FILE when it is missing, unreadable or a folder, ERR_MODEL_CORRUPT when it is empty */
export function mapChecked(path: string): Segment {
  let status: Stats;
  try {
    status = statSync(path);
  } catch (cause) {
    throw fileError(path, 'open it', cause);
  }
  if (!status.isFile())
    throw new FinetuneError('ERR_FILE', `${path}: is no regular file, a file with weights was expected. Check the path.`, { path });
  if (status.size === 0) throw corruptFile(path, 'the file is empty');
  return mapFile(path);
}

/** Copies bytes out of a map. */
export function readMap(map: Segment, offset: number, length: number): Uint8Array {
  return new Tensor(map, offset, 'u8', [length]).readBytes();
}
