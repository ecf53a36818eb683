import { type Command, Option } from 'commander';
import { type Field, listFields, schemaAt } from '../config/fields.js';
import type { JsonSchema } from '../config/json-schema.js';
import { type Layer, singleLayer } from '../config/layers.js';
import { configError } from '../config/problems.js';

/**
 * Flags of settings, named by one rule: the path of the setting in kebab case, where
 * - `type` of a group goes by the group's name: method.type is --method;
 * - settings of method, optimizer and schedule go by their own name: method.rank is --rank, schedule.warmupSteps is --warmup-steps,
 *   unless a setting at the top has that name already: method.dtype is --method-dtype;
 * - settings of other groups carry the group's name: checkpoint.everySteps is --checkpoint-every-steps.
 * A setting that is on by default is switched off by --no-NAME, and both forms exist for every switch.
 */
export function flagName(path: readonly string[], schema: JsonSchema): string {
  const [group = '', leaf] = path;
  if (leaf === undefined) return kebab(group);
  if (leaf === 'type') return kebab(group);
  const short = ['method', 'optimizer', 'schedule'].includes(group) && !Object.hasOwn(schema.properties ?? {}, leaf);
  return short ? kebab(leaf) : kebab(path.join('-'));
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const headings: Record<string, string> = {
  method: 'Method:',
  optimizer: 'Optimizer:',
  schedule: 'Schedule:',
  checkpoint: 'Checkpoints:',
  evaluation: 'Evaluation:',
  offload: 'Offloading to disk:',
};

/** Options that were made for settings: a command may have one of its own by the name of a setting that it has no flag for. */
const settingOptions = new WeakSet<Option>();

/** Adds the flags of settings to a command: all of the schema's, or those whose first key is listed. */
export function addSettingFlags(command: Command, schema: JsonSchema, only?: readonly string[]): void {
  for (const field of listFields(schema)) {
    if (only && !only.includes(field.path[0] ?? '')) continue;
    for (const option of optionsOf(field, schema)) {
      settingOptions.add(option);
      command.addOption(option.helpGroup(headings[field.path[0] ?? ''] ?? 'Settings:'));
    }
  }
}

function optionsOf(field: Field, schema: JsonSchema): Option[] {
  const name = flagName(field.path, schema);
  const help = helpText(field);
  if (field.schema.type !== 'boolean') return [new Option(`--${name} ${placeholder(field)}`, help)];
  const on = new Option(`--${name}`, help);
  const off = new Option(`--no-${name}`, help);
  return field.default === true ? [on.hideHelp(), off] : [on, off.hideHelp()];
}

function placeholder({ path, schema }: Field): string {
  if (schema.anyOf?.some((option) => option.const === true)) return '[path]';
  if (schema.enum) return '<name>';
  if (schema.anyOf?.some((option) => option.enum)) return '<name|n>';
  if (schema.type === 'object') return '<pattern=value,...>';
  if ((schema.anyOf ?? [schema]).some((option) => option.type === 'array')) return '<names>';
  if (schema.anyOf?.some((option) => option.pattern)) return '<size>';
  if (schema.type === 'integer') return '<n>';
  if (schema.type === 'number' || schema.anyOf) return '<x>';
  return path.at(-1) === 'out' || path.at(-1) === 'dir' || path.at(-1) === 'cacheDir' ? '<dir>' : '<path>';
}

function helpText(field: Field): string {
  const { description, variants, allVariants, schema } = field;
  const scope = variants.length < allVariants.length ? `${variants.join(', ')}: ` : '';
  const values = schema.enum && ` (${schema.enum.join(' | ')})`;
  const text = field.default === true ? `Switch off: ${lowerFirst(description)}` : description;
  return `${scope}${text}${values ?? ''}${defaultText(field)}`;
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

function defaultText({ default: value, defaults }: Field): string {
  if (defaults) {
    const known = Object.entries(defaults).filter(([, each]) => each !== undefined);
    return known.length ? ` [${known.map(([name, each]) => `${name} ${JSON.stringify(each)}`).join(', ')}]` : '';
  }
  if (value === undefined || typeof value === 'boolean' || (typeof value === 'object' && value !== null)) return '';
  return ` [${String(value)}]`;
}

/** Layers of the flags that were given, of --set (the last one wins), and of the positional arguments, strongest first. */
export function flagLayers(command: Command, schema: JsonSchema, positional: Record<string, string | undefined> = {}): Layer[] {
  const options = command.opts<Record<string, unknown>>();
  const flags = listFields(schema).flatMap((field): Layer[] => {
    const name = flagName(field.path, schema);
    const option = command.options.find(({ long }) => long === `--${name}`);
    const key = option?.attributeName();
    if (!option || !key || !settingOptions.has(option) || command.getOptionValueSource(key) !== 'cli') return [];
    const label = options[key] === false ? `--no-${name}` : `--${name}`;
    return [singleLayer(field.path, options[key], { kind: 'flag', label }, schema)];
  });
  const sets = ((options['set'] as string[] | undefined) ?? []).map((text) => setLayer(text, schema)).reverse();
  const places = Object.entries(positional).flatMap(([key, value]) =>
    value === undefined ? [] : [singleLayer([key], value, { kind: 'flag', label: `argument ${key}` }, schema)],
  );
  return [...places, ...flags, ...sets];
}

function setLayer(text: string, schema: JsonSchema): Layer {
  const equals = text.indexOf('=');
  const origin = { kind: 'set', label: `--set ${text}` } as const;
  if (equals < 1) throw configError([{ path: [], message: 'wanted key=value, such as --set method.rank=8', origin }]);
  return singleLayer(splitPath(text.slice(0, equals).trim(), schema), text.slice(equals + 1), origin, schema);
}

/** Keys of a dotted path; the keys of a record (patterns) may have dots themselves. */
function splitPath(dotted: string, schema: JsonSchema): string[] {
  const keys = dotted.split('.');
  for (let length = 1; length < keys.length; length++) {
    const at = schemaAt(schema, keys.slice(0, length));
    if (typeof at?.additionalProperties === 'object') return [...keys.slice(0, length), keys.slice(length).join('.')];
  }
  return keys;
}
