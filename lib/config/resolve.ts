import type { z } from 'zod';
import { type PlanConfig, resolveDefaults, type TrainConfig } from './defaults.js';
import { type JsonSchema, toJsonSchema } from './json-schema.js';
import { type Layer, type Merged, mergeLayers } from './layers.js';
import { configError, describeIssues, without } from './problems.js';
import {
  looseConfigSchema,
  type ParsedConfig,
  type PlanConfigInput,
  planConfigSchema,
  type TrainConfigInput,
  trainConfigSchema,
} from './schema.js';
import { findRefusals } from './validate.js';

/** A configuration with where each of its values came from. */
export interface Resolved<Config> {
  config: Config;
  merged: Merged;
}

const jsonSchemas = new Map<z.ZodType, JsonSchema>();

/** JSON Schema of a zod schema, made once. */
export function jsonSchemaOf(schema: z.ZodType): JsonSchema {
  const json = jsonSchemas.get(schema) ?? toJsonSchema(schema);
  jsonSchemas.set(schema, json);
  return json;
}

/** Merges layers (the first wins) and checks them against any schema. @throws ERR_CONFIG_INVALID with all problems */
export function parseLayers<Schema extends z.ZodType>(layers: Layer[], schema: Schema): Resolved<z.output<Schema>> {
  const merged = mergeLayers(layers, jsonSchemaOf(schema));
  const result = schema.safeParse(merged.value);
  if (!result.success) throw configError(describeIssues(result.error, merged, jsonSchemaOf(schema)));
  return { config: result.data, merged };
}

/** Like parseLayers, and also refuses combinations; those among the good settings are listed with the bad ones. */
function parseRun<Schema extends typeof trainConfigSchema | typeof planConfigSchema>(
  layers: Layer[],
  schema: Schema,
): Resolved<ParsedConfig> {
  const json = jsonSchemaOf(schema);
  const merged = mergeLayers(layers, json);
  const result = schema.safeParse(merged.value);
  const problems = result.success ? [] : describeIssues(result.error, merged, json);
  const good = problems.reduce<unknown>((value, { path }) => without(value, path), merged.value);
  const loose = looseConfigSchema.safeParse(good);
  for (const { path, message } of loose.success ? findRefusals(loose.data) : []) {
    problems.push({ path, message, origin: merged.originOf(path) });
  }
  if (!result.success || problems.length) throw configError(problems);
  return { config: result.data, merged };
}

/** A training configuration from layers. @throws ERR_CONFIG_INVALID with all problems */
export function resolveLayers(layers: Layer[]): Resolved<TrainConfig> {
  const { config, merged } = parseRun(layers, trainConfigSchema);
  return { config: resolveDefaults(config) as TrainConfig, merged };
}

/** A configuration to plan from layers: data and out may be missing. @throws ERR_CONFIG_INVALID with all problems */
export function resolvePlanLayers(layers: Layer[]): Resolved<PlanConfig> {
  const { config, merged } = parseRun(layers, planConfigSchema);
  return { config: resolveDefaults(config), merged };
}

const apiLayer = (value: unknown): Layer => ({ value, originOf: () => ({ kind: 'api', label: 'options' }) });

/** Checks the options of any other call and fills in their defaults. @throws ERR_CONFIG_INVALID with all problems */
export function resolveOptions<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  return parseLayers([apiLayer(input)], schema).config;
}

/** Checks the options of `train` and fills in every default. @throws ERR_CONFIG_INVALID with all problems */
export function resolveConfig(input: TrainConfigInput): TrainConfig {
  return resolveLayers([apiLayer(input)]).config;
}

/** Checks the options of `plan` and fills in every default. @throws ERR_CONFIG_INVALID with all problems */
export function resolvePlanConfig(input: PlanConfigInput): PlanConfig {
  return resolvePlanLayers([apiLayer(input)]).config;
}
