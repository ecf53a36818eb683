import type { z } from 'zod';
import { FinetuneError } from '../native/errors.js';
import { listFields, schemaAt, variantName, wanted } from './fields.js';
import type { JsonSchema } from './json-schema.js';
import type { Merged, Origin } from './layers.js';
import { didYouMean, suggest } from './suggest.js';

/** One thing wrong with a configuration. */
export interface Problem {
  /** Keys of the setting, e.g. ['method', 'rank']. */
  path: readonly PropertyKey[];
  message: string;
  origin: Origin;
  /** Setting that was probably meant, for an unknown one. */
  suggestion?: string;
}

/** Dotted path of a setting. */
export const dotted = (path: readonly PropertyKey[]): string => path.map(String).join('.');

/** ERR_CONFIG_INVALID that lists all problems, each with where it was written. */
export function configError(problems: Problem[]): FinetuneError {
  const lines = problems.map(({ path, message, origin }) => {
    const written = origin.kind === 'default' || origin.kind === 'api' ? '' : `${origin.label}: `;
    return `${written}${path.length ? `${dotted(path)}: ` : ''}${message}`;
  });
  const text =
    lines.length === 1 ? lines[0] : [`The configuration has ${lines.length} problems:`, ...lines.map((line) => `  ${line}`)].join('\n');
  const details = problems.map(({ origin, path, ...problem }) => {
    const { kind: _, label, ...position } = origin;
    return { ...problem, path: dotted(path), origin: label, ...position };
  });
  return new FinetuneError('ERR_CONFIG_INVALID', `${text}`, { problems: details });
}

/** Problems in the words of our schema; zod only says what does not fit. */
export function describeIssues(error: z.ZodError, merged: Merged, schema: JsonSchema): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    if (issue.code === 'unrecognized_keys') return issue.keys.map((name) => unknownKey([...issue.path, name], merged, schema));
    const setting = schemaAt(schema, issue.path);
    const got = valueAt(merged.value, issue.path);
    const origin = merged.originOf(issue.path);
    if (got === undefined) return [{ path: issue.path, message: `is required: ${setting?.description ?? 'no value given'}`, origin }];
    const types = typesOf(issue.path, schema);
    const message = setting ? `wanted ${wanted(types ?? setting)}, got ${show(got)}` : issue.message;
    return [{ path: issue.path, message: message + nearValue(got, types ?? setting), origin }];
  });
}

/** For the `type` of a union, the choice between its types. */
function typesOf(path: readonly PropertyKey[], schema: JsonSchema): JsonSchema | undefined {
  const union = path.at(-1) === 'type' ? schemaAt(schema, path.slice(0, -1))?.oneOf : undefined;
  return union && { enum: union.map(variantName) };
}

function nearValue(got: unknown, setting: JsonSchema | undefined): string {
  return typeof got === 'string' && setting?.enum ? didYouMean(got, setting.enum.map(String)) : '';
}

function unknownKey(path: readonly PropertyKey[], merged: Merged, schema: JsonSchema): Problem {
  const name = String(path.at(-1));
  const parentPath = path.slice(0, -1);
  const parent = schemaAt(schema, parentPath) ?? schema;
  const origin = merged.originOf(path, true);
  const problem = { path, origin };
  const group = parentPath.length ? `of ${dotted(parentPath)}` : '';

  const owners = parent.oneOf?.filter((variant) => variant.properties && Object.hasOwn(variant.properties, name)).map(variantName) ?? [];
  const type = valueAt(merged.value, [...parentPath, 'type']);
  if (owners.length) return { ...problem, message: `not a setting of ${dotted(parentPath)} ${String(type)}, only of ${listed(owners)}` };

  const variant = parent.oneOf?.find((candidate) => variantName(candidate) === type) ?? parent;
  const siblings = Object.keys(variant.properties ?? {});
  const suggestion = exactElsewhere(name, schema) ?? suggest(name, siblings) ?? nearElsewhere(name, schema);
  const message = `unknown setting${group && ` ${group}`}${suggestion ? `; did you mean ${suggestion}?` : ''}`;
  return suggestion ? { ...problem, message, suggestion } : { ...problem, message };
}

function exactElsewhere(name: string, schema: JsonSchema): string | undefined {
  const field = listFields(schema).find(({ path }) => path.at(-1) === name);
  return field && dotted(field.path);
}

function nearElsewhere(name: string, schema: JsonSchema): string | undefined {
  const near = suggest(
    name,
    listFields(schema).map(({ path }) => path.at(-1) ?? ''),
  );
  return near && exactElsewhere(near, schema);
}

const listed = (names: string[]) => names.join(', ').replace(/, ([^,]*)$/, ' and $1');

/** The value at a path, own properties only. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null && Object.hasOwn(at, key) ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    value,
  );
}

/** A copy without the value at a path, and without groups and lists that it was the only or a bad part of. */
export function without(value: unknown, path: readonly PropertyKey[]): unknown {
  const [key, ...rest] = path;
  if (key === undefined || typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, below]) => {
      if (name !== String(key)) return [[name, below]];
      const kept = without(below, rest);
      return kept === undefined ? [] : [[name, kept]];
    }),
  );
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
