import type { MethodConfig } from '../config/schema.js';
import { full } from './full.js';
import { lora } from './lora.js';
import type { Method } from './method.js';

/** The registry of tuning methods, one line each; the key is the configuration's `method.type`. */
const methods: { [Type in MethodConfig['type']]: Method<Extract<MethodConfig, { type: Type }>> } = { lora, full };

/** The method of a configuration. */
export function methodOf(config: MethodConfig): Method<MethodConfig> {
  return methods[config.type] as Method<MethodConfig>;
}
