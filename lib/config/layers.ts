import { coerce, schemaAt, variantName } from './fields.js';
import type { JsonSchema } from './json-schema.js';

/** Where a value came from. */
export interface Origin {
  kind: 'flag' | 'set' | 'environment' | 'file' | 'api' | 'default';
  /** As shown to the user: '--rank', '--set method.rank', 'NODE_FINETUNE_THREADS', 'run.yaml:3:9', 'default'. */
  label: string;
  file?: string;
  line?: number;
  column?: number;
}

/** Values from one source, e.g. one file or one flag. */
export interface Layer {
  value: unknown;
  /** Origin of the value at a path, or of the key itself. */
  originOf(path: readonly PropertyKey[], key?: boolean): Origin;
}

/** Layers merged, and where each leaf came from. */
export interface Merged {
  value: Record<string, unknown>;
  originOf(path: readonly PropertyKey[], key?: boolean): Origin;
}

export const defaultOrigin: Origin = { kind: 'default', label: 'default' };

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const key = (path: readonly PropertyKey[]) => JSON.stringify(path.map(String));

/**
 * Merges layers, the first one wins. Objects are merged by key, everything else is replaced. A layer that names another type of a
 * union (method, optimizer) drops the settings that weaker layers gave to the old type. A missing type becomes the schema's default.
 */
export function mergeLayers(layers: Layer[], schema: JsonSchema): Merged {
  const owners = new Map<string, Layer>();
  let value: unknown = {};
  for (const layer of [...layers].reverse()) value = merge(value, layer.value, layer, [], schema, owners);
  return {
    value: fillTypes(isObject(value) ? value : {}, schema) as Record<string, unknown>,
    originOf: (path, asKey) => {
      for (let length = path.length; length > 0; length--) {
        const owner = owners.get(key(path.slice(0, length)));
        if (owner) return owner.originOf(path, asKey);
        // Items of lists and records come with the whole; a setting that is missing in a group does not come from who wrote the group.
        const parent = schemaAt(schema, path.slice(0, length - 1));
        if (parent?.properties || parent?.oneOf) return defaultOrigin;
      }
      return defaultOrigin;
    },
  };
}

function merge(
  weak: unknown,
  strong: unknown,
  layer: Layer,
  path: string[],
  schema: JsonSchema | undefined,
  owners: Map<string, Layer>,
): unknown {
  if (!isObject(strong)) {
    owners.set(key(path), layer);
    return strong;
  }
  // Values of a record (rankPattern) are replaced as a whole: a pattern that is left over from a file would surprise.
  const record = schema !== undefined && typeof schema.additionalProperties === 'object';
  if (!isObject(weak) || record || changesType(weak, strong, schema)) {
    for (const owned of [...owners.keys()]) if (owned.startsWith(key(path).slice(0, -1))) owners.delete(owned);
    weak = {};
  }
  owners.set(key(path), layer);
  const keys = new Set([...Object.keys(weak as object), ...Object.keys(strong)]);
  return Object.fromEntries(
    [...keys].map((name) => {
      const below = [...path, name];
      const old = Object.hasOwn(weak as object, name) ? (weak as Record<string, unknown>)[name] : undefined;
      if (!Object.hasOwn(strong, name) || strong[name] === undefined) return [name, old];
      return [name, merge(old, strong[name], layer, below, schema && schemaAt(schema, [name]), owners)];
    }),
  );
}

function defaultType(schema: JsonSchema): string | undefined {
  if (!schema.oneOf) return undefined;
  const type = (schema.default as { type?: string } | undefined)?.type;
  return type ?? (schema.oneOf[0] && variantName(schema.oneOf[0]));
}

function changesType(weak: Record<string, unknown>, strong: Record<string, unknown>, schema: JsonSchema | undefined): boolean {
  if (!schema?.oneOf || strong['type'] === undefined) return false;
  return (weak['type'] ?? defaultType(schema)) !== strong['type'];
}

/** Gives unions without a `type` the default one. */
export function fillTypes(value: unknown, schema: JsonSchema): unknown {
  if (!isObject(value)) return value;
  const filled = schema.oneOf && value['type'] === undefined ? { ...value, type: defaultType(schema) } : value;
  return Object.fromEntries(
    Object.entries(filled).map(([name, below]) => {
      const inner = schemaAt(schema, [name]);
      return [name, inner ? fillTypes(below, inner) : below];
    }),
  );
}

/** A layer of one value at a path; text is turned into what the schema wants there. 'method=full' is short for 'method.type=full'. */
export function singleLayer(path: readonly string[], input: unknown, origin: Origin, schema: JsonSchema): Layer {
  const target = schemaAt(schema, path);
  const full = target?.oneOf || target?.properties?.['type'] ? [...path, 'type'] : path;
  const leaf = schemaAt(schema, full);
  const value = typeof input === 'string' && leaf ? coerce(input, leaf) : input;
  return {
    value: full.reduceRight<unknown>((below, name) => Object.fromEntries([[name, below]]), value),
    originOf: () => origin,
  };
}

/** Environment variables that set a value, for what belongs to the machine rather than to the run. */
export const environmentSettings: Record<string, string[]> = {
  NODE_FINETUNE_DEVICE: ['device'],
  NODE_FINETUNE_THREADS: ['threads'],
  NODE_FINETUNE_MEMORY_LIMIT: ['memoryLimit'],
  NODE_FINETUNE_CACHE: ['cacheDir'],
};

/** Layers of the environment variables that are set and that the schema has a place for. */
export function environmentLayers(environment: NodeJS.ProcessEnv, schema: JsonSchema): Layer[] {
  return Object.entries(environmentSettings).flatMap(([name, path]) => {
    const text = environment[name];
    if (!text || !schemaAt(schema, path)) return [];
    return [singleLayer(path, text, { kind: 'environment', label: name }, schema)];
  });
}
