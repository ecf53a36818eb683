import type { z } from 'zod';
import { unionOf } from '../config/kinds.js';
import { bitfit } from './bitfit.js';
import { dora } from './dora.js';
import { full } from './full.js';
import { ia3 } from './ia3.js';
import { lora } from './lora.js';
import type { Method } from './method.js';
import { norms } from './norms.js';

/** The registry of tuning methods, one line each, in the order of help texts. */
const registry = [
  lora, //
  dora,
  ia3,
  norms,
  bitfit,
  full,
] as const;

/** Settings of every method, told apart by `type`. */
export const methodSchema = unionOf(registry);

export type MethodConfig = z.output<typeof methodSchema>;
export type MethodName = MethodConfig['type'];
export const methodNames: readonly MethodName[] = registry.map((m) => m.name);

/** The method of a configuration. */
export function methodOf({ type }: Pick<MethodConfig, 'type'>): Method<MethodConfig> {
  return registry.find((m) => m.name === type) as unknown as Method<MethodConfig>;
}
