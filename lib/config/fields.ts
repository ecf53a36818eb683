import type { JsonSchema } from './json-schema.js';

/** One setting: a leaf of the schema, with what every variant of its parent (lora | full, adamw | sgd | lomo) says about it. */
export interface Field {
  /** Keys from the root, e.g. ['method', 'rank']. */
  path: string[];
  schema: JsonSchema;
  description: string;
  /** Default of the schema, or per variant where they differ. Absent for settings that are empty by default. */
  default?: unknown;
  defaults?: Record<string, unknown>;
  /** Types of the parent that have this setting; empty if the parent is no union. */
  variants: string[];
  /** All types of the parent. */
  allVariants: string[];
}

/** Leaves of an object schema, in the order of the schema; the members of a union's variants are merged by name. */
export function listFields(schema: JsonSchema, parent: string[] = []): Field[] {
  const fields: Field[] = [];
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    const path = [...parent, key];
    if (value.oneOf) fields.push(...unionFields(value, path));
    else if (value.properties) fields.push(...listFields(value, path));
    else fields.push(leaf(path, value, [], []));
  }
  return fields;
}

function leaf(path: string[], schema: JsonSchema, variants: string[], allVariants: string[]): Field {
  const field: Field = { path, schema, description: schema.description ?? '', variants, allVariants };
  if (schema.default !== undefined) field.default = schema.default;
  return field;
}

/** Name of a union's variant: the constant of its `type`. */
export function variantName(schema: JsonSchema): string {
  return String(schema.properties?.['type']?.const);
}

function unionFields(union: JsonSchema, path: string[]): Field[] {
  const variants = union.oneOf ?? [];
  const names = variants.map(variantName);
  const initial = (union.default as { type?: string } | undefined)?.type ?? names[0];
  const type: JsonSchema = { type: 'string', enum: names, default: initial };
  const fields: Field[] = [{ ...leaf([...path, 'type'], type, [], []), description: union.description ?? '' }];
  for (const variant of variants) {
    const name = variantName(variant);
    for (const field of listFields({ properties: withoutType(variant) }, path)) {
      const same = fields.find((other) => other.path.join('.') === field.path.join('.'));
      if (!same) {
        fields.push({ ...field, variants: [name], allVariants: names, defaults: { [name]: field.default } });
      } else {
        same.variants.push(name);
        same.defaults = { ...same.defaults, [name]: field.default };
      }
    }
  }
  for (const field of fields) {
    const values = Object.values(field.defaults ?? {});
    if (values.every((value) => JSON.stringify(value) === JSON.stringify(values[0]))) delete field.defaults;
    else delete field.default;
  }
  return fields;
}

function withoutType(variant: JsonSchema): Record<string, JsonSchema> {
  return Object.fromEntries(Object.entries(variant.properties ?? {}).filter(([key]) => key !== 'type'));
}

/** The schema at a path; inside a union, that of the first variant that has it. Undefined if the path leads nowhere. */
export function schemaAt(schema: JsonSchema, path: readonly PropertyKey[]): JsonSchema | undefined {
  let at: JsonSchema | undefined = schema;
  for (const key of path) {
    const name = String(key);
    const objects: JsonSchema[] = at.oneOf ?? at.anyOf ?? [at];
    let next: JsonSchema | undefined;
    for (const object of objects) {
      if (object.properties && Object.hasOwn(object.properties, name)) next ??= object.properties[name];
      else if (typeof object.additionalProperties === 'object') next ??= object.additionalProperties;
      else if (object.items && typeof key === 'number') next ??= object.items;
    }
    if (!next) return undefined;
    at = next;
  }
  return at;
}

/** What a value may be, in words: 'an integer of at least 1', 'one of f32, bf16'. */
export function wanted(schema: JsonSchema): string {
  if (schema.oneOf) return `one of ${schema.oneOf.map(variantName).join(', ')}`;
  if (schema.anyOf) return schema.anyOf.map(wanted).join(' or ');
  if (schema.const !== undefined) return String(schema.const);
  if (schema.enum) return `one of ${schema.enum.join(', ')}`;
  switch (schema.type) {
    case 'integer':
      return `an integer${range(schema)}`;
    case 'number':
      return `a number${range(schema)}`;
    case 'boolean':
      return 'true or false';
    case 'array':
      return 'a list of names';
    case 'object':
      return typeof schema.additionalProperties === 'object'
        ? `for each pattern ${wanted(schema.additionalProperties)}`
        : 'a group of settings';
    default:
      return schema.pattern ? 'a size such as 512MiB or 8GiB' : 'a path';
  }
}

function range({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): string {
  const low = minimum !== undefined ? `of at least ${minimum}` : exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : '';
  const high = maximum !== undefined ? `at most ${maximum}` : exclusiveMaximum !== undefined ? `below ${exclusiveMaximum}` : '';
  if (minimum !== undefined && maximum !== undefined) return ` from ${minimum} to ${maximum}`;
  return [low, high]
    .filter(Boolean)
    .map((part, i) => (i ? ` and ${part}` : ` ${part}`))
    .join('');
}

/** Turns the text of a flag, an environment variable or --set into the value the schema wants; text that does not fit stays text. */
export function coerce(text: string, schema: JsonSchema): unknown {
  if (schema.anyOf) {
    for (const option of schema.anyOf) {
      const value = coerce(text, option);
      if (option.const !== undefined ? value === option.const : option.type !== 'string' && value !== text) return value;
    }
    return text;
  }
  if (typeof schema.const === 'boolean' || schema.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  switch (schema.type) {
    case 'integer':
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'array':
      return splitList(text).map((item) => (schema.items ? coerce(item, schema.items) : item));
    case 'object': {
      const values = schema.additionalProperties;
      if (typeof values !== 'object') return text;
      const entries = splitList(text).map((item) => {
        const equals = item.lastIndexOf('=');
        return [item.slice(0, equals), coerce(item.slice(equals + 1), values)] as const;
      });
      return entries.every(([key]) => key !== '') ? Object.fromEntries(entries) : text;
    }
    default:
      return text;
  }
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean);
}
