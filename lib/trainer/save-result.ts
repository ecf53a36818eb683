import { existsSync } from 'node:fs';
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
import type { Session } from './session.js';

/**
 * Refuses a disk without room for the result: a run should not find that out at its end.
 * @throws ERR_FILE with the bytes that are needed and free
 */
export function assertRoom(session: Session, config: PlanConfig, out: string): void {
  const written = methodOf(config.method).peftConfig ? session.adapterTensors : [...session.model.parameters()];
  const needed = written.reduce((sum, p) => sum + p.value.bytes, 0);
  let folder = resolve(out);
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  const free = freeBytes(folder);
  if (free >= needed) return;
  const message = `${out}: the disk is full: the result needs ${needed} bytes, ${free} are free; free some space or choose another place`;
  throw new FinetuneError('ERR_FILE', message, { path: out, requested: needed, free });
}

/** Name of a trained tensor in the files of the result. */
export function savedName(config: Pick<PlanConfig, 'method'>, parameter: Parameter): string {
  return methodOf(config.method).savedName?.(parameter) ?? parameter.name;
}

/** Writes what was trained: a PEFT adapter folder, or a complete Hugging Face model folder. */
export function saveResult(session: Session, source: ModelSource, config: PlanConfig, out: string, options: { overwrite: boolean }): void {
  const adapter = methodOf(config.method).peftConfig?.(session.model, config.method, source.path);
  if (adapter) {
    const tensors = session.adapterTensors.map((p) => [savedName(config, p), p.value] as [string, typeof p.value]);
    writeAdapter(out, adapter, tensors, options);
  } else {
    // Weights that stayed quantized beside what was trained are written as merging writes them.
    const dtypeOf = ({ value }: Parameter) => (isQuantized(value.dtype) ? ('bf16' as const) : undefined);
    const tensors = [...session.model.parameters()].map((p) => ({ name: p.name, tensor: p.value, dtype: dtypeOf(p) }));
    writeModelFolder(out, { source, tensors, ...options });
  }
}
