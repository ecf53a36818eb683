import { type Field, listFields, wanted } from '../config/fields.js';
import { environmentSettings } from '../config/layers.js';
import { dotted } from '../config/problems.js';
import { jsonSchemaOf } from '../config/resolve.js';
import { trainConfigSchema } from '../config/schema.js';
import { learningRateTable } from '../optimizers/index.js';
import { flagName } from './flags.js';

const introduction = `# Settings

This page is generated from the schema (\`npm run generate:schema\`). A setting has the same name in TypeScript, in a YAML or
JSON file (\`--config run.yaml\`) and in \`--set path=value\`. Flags are named by one rule: the path in kebab case, where \`type\` of
a group goes by the group's name (\`method.type\`: \`--method\`), settings of \`method\`, \`optimizer\` and \`schedule\` go by their
own name (\`method.rank\`: \`--rank\`), and those of other groups carry the group's name (\`checkpoint.keep\`: \`--checkpoint-keep\`).
A switch has both forms, \`--packing\` and \`--no-packing\`. Lists are written \`a,b\`, patterns \`name=value,name=value\`.

Precedence: arguments and flags, then \`--set\`, environment variables, the file, defaults. Whoever names another \`type\` of a group drops
the settings that a weaker source gave to the old type. \`--print-config\` shows every value with where it comes from. Paths are relative
to the working directory.

First line of a file, for completion in editors: \`# yaml-language-server: $schema=./node_modules/node-finetune/schema.json\`
`;

/** Settings that are arguments of train, not flags. */
const places: Record<string, string> = { model: 'first argument', data: 'second argument' };

/** docs/settings.md: every setting with flag, values, default and meaning. */
export function settingsDocument(): string {
  const schema = jsonSchemaOf(trainConfigSchema);
  const rows = listFields(schema).map((field) => [
    `\`${dotted(field.path)}\``,
    places[dotted(field.path)] ?? `\`--${flagName(field.path, schema)}\``,
    wanted(field.schema),
    defaultOf(field),
    meaning(field),
  ]);
  const rates = learningRateTable().map(({ method, optimizer, value, source }) => [method, optimizer, String(value), source]);
  const variables = Object.entries(environmentSettings).map(([name, path]) => [`\`${name}\``, `\`${dotted(path)}\``]);
  return [
    introduction,
    table(['setting', 'flag', 'values', 'default', 'meaning'], rows),
    '## Learning rates that `auto` stands for\n',
    table(['method', 'optimizer', 'learning rate', 'source'], rates),
    '## Environment variables\n',
    table(['variable', 'setting'], variables),
  ].join('\n');
}

function meaning({ description, variants, allVariants }: Field): string {
  return `${variants.length < allVariants.length ? `(${variants.join(', ')}) ` : ''}${description}`;
}

function defaultOf({ default: value, defaults }: Field): string {
  if (!defaults) return value === undefined ? '' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
  return Object.entries(defaults)
    .map(([name, each]) => `${name}: \`${JSON.stringify(each)}\``)
    .join(', ');
}

function table(titles: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return line(titles) + line(titles.map(() => '---')) + rows.map(line).join('');
}
