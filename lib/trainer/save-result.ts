import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { PlanConfig } from '../config/defaults.js';
import { isQuantized } from '../core/dtype.js';
import type { Parameter } from '../core/parameter.js';
import { freeBytes } from '../core/scratch.js';
import { writeModelFolder } from '../formats/export-model.js';
import type { ModelSource } from '../formats/model-source.js';
import { writeAdapter } from '../formats/peft-adapter.js';
import { methodOf } from '../methods/index.js';
import { FinetuneError } from '../native/errors.js';
import { offloadFolder, type Session } from './session.js';

/**
 * Refuses a disk without room for the result: a run should not find that out at its end. A scratch file that becomes the result
 * has its room already.
 * @throws ERR_FILE with the bytes that are needed and free
 */
export function assertRoom(session: Session, config: PlanConfig, out: string): void {
  if (session.modelFile && deviceOf(offloadFolder(config)) === deviceOf(dirname(resolve(out)))) return;
  const written = methodOf(config.method).peftConfig ? session.adapterTensors : [...session.model.parameters()];
  const needed = written.reduce((sum, p) => sum + p.value.bytes, 0);
  const free = freeBytes(existing(out));
  if (free >= needed) return;
  const message = `${out}: the disk is full: the result needs ${needed} bytes, ${free} are free; free some space or choose another place`;
  throw new FinetuneError('ERR_FILE', message, { path: out, requested: needed, free });
}

/** The folder, or the nearest one above it that exists. */
function existing(path: string): string {
  let folder = resolve(path);
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

const deviceOf = (folder: string) => statSync(existing(folder)).dev;

/** Name of a trained tensor in the files of the result. */
export function savedName(config: Pick<PlanConfig, 'method'>, parameter: Parameter): string {
  return methodOf(config.method).savedName?.(parameter) ?? parameter.name;
}

export interface SaveOptions {
  overwrite: boolean;
  /** The session trains no more: a scratch file with all weights may become the result. Default false: it is copied. */
  final?: boolean;
}

/** Writes what was trained: a PEFT adapter folder, or a complete Hugging Face model folder. */
export function saveResult(session: Session, source: ModelSource, config: PlanConfig, out: string, options: SaveOptions): void {
  const { overwrite, final = false } = options;
  const adapter = methodOf(config.method).peftConfig?.(session.model, config.method, source.path);
  if (adapter) {
    const tensors = session.adapterTensors.map((p) => [savedName(config, p), p.value] as [string, typeof p.value]);
    writeAdapter(out, adapter, tensors, { overwrite });
  } else {
    // Weights that stayed quantized beside what was trained are written as merging writes them.
    const dtypeOf = ({ value }: Parameter) => (isQuantized(value.dtype) ? ('bf16' as const) : undefined);
    const tensors = [...session.model.parameters()].map((p) => ({ name: p.name, tensor: p.value, dtype: dtypeOf(p) }));
    writeModelFolder(out, { source, tensors, overwrite, ...(final && { weightsFile: session.modelFile }) });
  }
}
