import type { PlanConfig } from '../config/defaults.js';
import type { LoraConfig } from '../config/schema.js';
import type { Parameter } from '../core/parameter.js';
import { writeModelFolder } from '../formats/export-model.js';
import type { ModelSource } from '../formats/model-source.js';
import { writeAdapter } from '../formats/peft-adapter.js';
import { loraPeftConfig } from '../methods/lora-peft.js';
import type { Session } from './session.js';

/** Writes what was trained: a PEFT adapter folder, or a complete Hugging Face model folder. */
export function saveResult(session: Session, source: ModelSource, config: PlanConfig, out: string, options: { overwrite: boolean }): void {
  if (config.method.type === 'lora') saveAdapter(session, source, config.method, out, options);
  else saveModel(session, source, out, options);
}

function saveAdapter(session: Session, source: ModelSource, method: LoraConfig, out: string, options: { overwrite: boolean }): void {
  const tensors = session.trained.map((p): [string, Parameter['value']] => [p.name, p.value]);
  writeAdapter(out, loraPeftConfig(session.model, method, source.path), tensors, options);
}

function saveModel(session: Session, source: ModelSource, out: string, { overwrite }: { overwrite: boolean }): void {
  const tensors = [...session.model.parameters()].map((p) => ({ name: p.name, tensor: p.value }));
  writeModelFolder(out, { source, tensors, overwrite });
}
