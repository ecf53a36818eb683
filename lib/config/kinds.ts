import { z } from 'zod';

/** Kinds of values that settings have in many places. */

export const path = () => z.string().min(1);
export const count = () => z.int().min(1);
export const dtype = () => z.enum(['f32', 'bf16']);
/** From 0 to below 1: probabilities and decay rates. */
export const fraction = () => z.number().min(0).lt(1);

/** A combination of settings that is refused: the setting to blame, and what to use instead. */
export interface Refusal {
  path: string[];
  message: string;
}

type Schemas<Registry extends readonly { schema: z.ZodObject }[]> = { -readonly [Index in keyof Registry]: Registry[Index]['schema'] };

/** The settings of every entry of a registry, told apart by `type`. */
export function unionOf<const Registry extends readonly { schema: z.ZodObject }[]>(registry: Registry) {
  const schemas = registry.map(({ schema }) => schema) as unknown as [z.core.$ZodTypeDiscriminable];
  return z.discriminatedUnion('type', schemas) as unknown as z.ZodDiscriminatedUnion<Schemas<Registry>, 'type'>;
}
