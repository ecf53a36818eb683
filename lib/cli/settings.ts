import type { Command } from 'commander';
import type { z } from 'zod';
import { listFields } from '../config/fields.js';
import { readConfigFile } from '../config/file.js';
import { environmentLayers, type Layer, type Merged } from '../config/layers.js';
import { dotted, valueAt } from '../config/problems.js';
import { jsonSchemaOf, parseLayers } from '../config/resolve.js';
import type { CommandContext } from './context.js';
import { addSettingFlags, flagLayers } from './flags.js';

const collect = (value: string, previous: string[] = []) => [...previous, value];

/** Adds --config, --set and a flag for every setting (or those whose first key is listed). */
export function addRunSettings(command: Command, schema: z.ZodType, only?: readonly string[]): Command {
  command
    .option('-c, --config <file>', 'Settings from a YAML or JSON file')
    .option('-s, --set <key=value>', 'Any setting by its path in the file, such as method.rank=8; may be repeated', collect);
  addSettingFlags(command, jsonSchemaOf(schema), only);
  return command.addHelpText('after', '\nPrecedence: arguments and flags, --set, NODE_FINETUNE_* variables, --config, defaults.');
}

/** The layers of a command's settings, strongest first: arguments, flags, --set, environment, file. */
export function settingLayers(
  command: Command,
  context: CommandContext,
  schema: z.ZodType,
  positional: Record<string, string | undefined>,
): Layer[] {
  const json = jsonSchemaOf(schema);
  const { config } = command.opts<{ config?: string }>();
  return [
    ...flagLayers(command, json, positional),
    ...environmentLayers(context.environment, json),
    ...(config === undefined ? [] : [readConfigFile(config)]),
  ];
}

/** Settings of a command that has no file: flags and environment. @throws ERR_CONFIG_INVALID with all problems */
export function commandOptions<Schema extends z.ZodType>(command: Command, context: CommandContext, schema: Schema): z.output<Schema> {
  const json = jsonSchemaOf(schema);
  return parseLayers([...flagLayers(command, json), ...environmentLayers(context.environment, json)], schema).config;
}

/** A setting with its value and where it came from. */
export interface Setting {
  path: string[];
  value: unknown;
  origin: string;
}

/** All settings of a resolved configuration that have a value, as written where the user wrote them. */
export function listSettings(config: object, merged: Merged, schema: z.ZodType): Setting[] {
  return listFields(jsonSchemaOf(schema)).flatMap(({ path }) => {
    const value = valueAt(merged.value, path) ?? valueAt(config, path);
    return value === undefined ? [] : [{ path, value, origin: merged.originOf(path).label }];
  });
}

/** Settings as YAML that --config reads again, each with its origin as a comment. */
export function settingsYaml(settings: Setting[]): string {
  const rows: [text: string, origin: string][] = [];
  let group: string | undefined;
  for (const { path, value, origin } of settings) {
    const [first = '', leaf] = path;
    if (leaf !== undefined && first !== group) rows.push([`${first}:`, '']);
    group = leaf === undefined ? undefined : first;
    rows.push([`${leaf === undefined ? '' : '  '}${path.at(-1)}: ${yamlValue(value)}`, origin]);
  }
  const width = Math.min(60, Math.max(...rows.map(([text]) => text.length)));
  return rows.map(([text, origin]) => `${origin ? `${text.padEnd(width)}  # ${origin}` : text}\n`).join('');
}

/** JSON is YAML; plain words stay unquoted for the reader. */
function yamlValue(value: unknown): string {
  const plain = typeof value === 'string' && /^[A-Za-z./][\w./-]*$/.test(value) && !/^(true|false|null|yes|no|on|off)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}

/** The same for programs: { "method.rank": { value, origin } }. */
export function settingsJson(settings: Setting[]): Record<string, { value: unknown; origin: string }> {
  return Object.fromEntries(settings.map(({ path, value, origin }) => [dotted(path), { value, origin }]));
}
