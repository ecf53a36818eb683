import { z } from 'zod';
import { trainConfigSchema } from './schema.js';

/** The part of JSON Schema that our schemas use. */
export interface JsonSchema {
  type?: string;
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  pattern?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  items?: JsonSchema;
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  [key: string]: unknown;
}

/** JSON Schema of what a user may write: defaults are optional. */
export function toJsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      // zod bounds integers by the safe range, which says nothing to a reader.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      // The type of a union may be left out where it is the default one (layers.ts fills it in).
      const first = jsonSchema.oneOf?.[0];
      if (first?.required && first.properties?.['type'] && jsonSchema.default)
        first.required = first.required.filter((key) => key !== 'type');
    },
  }) as JsonSchema;
}

/** The published schema.json: JSON Schema 2020-12 of a training configuration, for editors. */
export function trainJsonSchema(): JsonSchema {
  const { $schema, ...rest } = toJsonSchema(trainConfigSchema);
  // Model, data and out may come from the command line instead, and an editor must not demand them in the file.
  const { required: _, ...open } = rest;
  return { $schema, title: 'node-finetune training configuration', ...open };
}

/** The text of schema.json. */
export function trainJsonSchemaText(): string {
  return `${JSON.stringify(trainJsonSchema(), null, 2)}\n`;
}
