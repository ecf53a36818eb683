import type { PlanConfig } from '../config/defaults.js';
import { writeModelFolder } from '../formats/export-model.js';
import type { ModelSource } from '../formats/model-source.js';
import { writeAdapter } from '../formats/peft-adapter.js';
import { methodOf } from '../methods/index.js';
import type { Session } from './session.js';

/** Writes what was trained: a PEFT adapter folder, or a complete Hugging Face model folder. */
export function saveResult(session: Session, source: ModelSource, config: PlanConfig, out: string, options: { overwrite: boolean }): void {
  const adapter = methodOf(config.method).peftConfig?.(session.model, config.method, source.path);
  if (adapter) {
    const tensors = session.trained.map((p) => [p.name, p.value] as [string, typeof p.value]);
    writeAdapter(out, adapter, tensors, options);
  } else {
    const tensors = [...session.model.parameters()].map((p) => ({ name: p.name, tensor: p.value }));
    writeModelFolder(out, { source, tensors, ...options });
  }
}
