import { z } from 'zod';
import { corruptFile, shown, unsupportedFile } from './file-error.js';
import type { JsonObject } from './json-file.js';

const strings = z.array(z.string());
const rank = z
  .int()
  .min(1)
  .max(2 ** 20);

const named = z.union([strings, z.string()]).nullish();

/** Keys that every type has, as PEFT names them. Unknown keys are kept. */
const common = {
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  target_modules: named,
  exclude_modules: named,
  modules_to_save: strings.nullish(),
};

const loraSchema = z.looseObject({
  peft_type: z.literal('LORA'),
  ...common,
  r: rank.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).max(1).default(0),
  use_rslora: z.boolean().nullish().transform(Boolean),
  use_dora: z.boolean().nullish().transform(Boolean),
  fan_in_fan_out: z.boolean().nullish().transform(Boolean),
  bias: z.enum(['none', 'all', 'lora_only']).default('none'),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
  layers_pattern: named,
  rank_pattern: z
    .record(z.string(), rank)
    .nullish()
    .transform((v) => v ?? {}),
  alpha_pattern: z
    .record(z.string(), z.number())
    .nullish()
    .transform((v) => v ?? {}),
});

const ia3Schema = z.looseObject({ peft_type: z.literal('IA3'), ...common, feedforward_modules: named });
const lnTuningSchema = z.looseObject({ peft_type: z.literal('LN_TUNING'), ...common });

/** The adapters that are read: one line each. */
const schemas = { LORA: loraSchema, IA3: ia3Schema, LN_TUNING: lnTuningSchema };

/** peft_type of the adapters that are read. */
export type AdapterType = keyof typeof schemas;
export const adapterTypes = Object.keys(schemas) as AdapterType[];

/** adapter_config.json of a type, with PEFT's defaults filled in. */
export type ConfigOf<Type extends AdapterType> = z.output<(typeof schemas)[Type]>;
export type AdapterConfig = ConfigOf<AdapterType>;

/** Options that make an adapter compute something else than its type says here. */
const resultChanging = [
  'lora_bias',
  'fan_in_fan_out',
  'use_bdlora',
  'use_qalora',
  'alora_invocation_tokens',
  'arrow_config',
  'layer_replication',
];

/** Keys that say how an adapter was made, not what it computes. */
const inert = new Set(
  (
    'auto_mapping peft_version revision inference_mode init_lora_weights init_ia3_weights loftq_config eva_config corda_config lora_ga_config ' +
    'megatron_config megatron_core qalora_group_size runtime_config ensure_weight_tying velora_config monteclora_config kasa_config'
  ).split(' '),
);

const isEmpty = (value: unknown): boolean =>
  value === null || value === false || value === '' || (typeof value === 'object' && Object.keys(value as object).length === 0);

/** Keys that may change what the adapter computes, and are not known here. */
function unknownKeys(raw: JsonObject, type: AdapterType): string[] {
  const known = new Set([...Object.keys(schemas[type].shape), ...inert]);
  return Object.keys(raw).filter((key) => !known.has(key) && !isEmpty(raw[key]));
}

/**
 * Checks the contents of adapter_config.json. Unknown keys are ignored where they are empty or off.
 * @param types peft_type values the caller can use
 * @throws ERR_MODEL_UNSUPPORTED for another peft_type and for unknown keys that are set, ERR_MODEL_CORRUPT listing every wrong key
 */
export function parseAdapterConfig<Type extends AdapterType>(raw: JsonObject, path: string, types: readonly Type[]): ConfigOf<Type> {
  const type = raw.peft_type;
  if (typeof type !== 'string') throw corruptFile(path, `peft_type must say the kind of adapter, got ${shown(type)}`);
  if (!types.includes(type as Type))
    throw unsupportedFile(
      path,
      `its peft_type is ${shown(type)}`,
      `${types.length < adapterTypes.length ? 'Wanted here' : 'Supported'}: ${types.join(', ')}.`,
    );
  const used = resultChanging.filter((key) => raw[key] !== undefined && raw[key] !== null && raw[key] !== false);
  if (used.length > 0)
    throw unsupportedFile(path, `it uses ${used.join(', ')}`, 'Merge the adapter into its base model with peft, and use the merged model.');
  const unknown = unknownKeys(raw, type as AdapterType);
  if (unknown.length > 0)
    throw unsupportedFile(
      path,
      `it sets ${unknown.map((key) => `${shown(key)}: ${shown(raw[key])}`).join(', ')}, which this version does not know`,
      'Remove them if they change nothing in the result, or merge the adapter into its base model with peft.',
    );
  const result = schemas[type as Type].safeParse(raw);
  if (result.success) return result.data as ConfigOf<Type>;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`);
  throw corruptFile(
    path,
    `${problems.length} wrong ${problems.length === 1 ? 'key' : 'keys'}: ${problems.join('; ')}`,
    'Correct them or export the adapter again.',
  );
}

/**
 * The full adapter_config.json for a LoRA adapter: every key that PEFT 0.5 and later and vLLM look for, then the given values.
 * `config` uses PEFT's names (r, lora_alpha, target_modules ...).
 */
export function loraConfigFile(config: JsonObject): JsonObject {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: null,
    revision: null,
    inference_mode: true,
    r: 8,
    lora_alpha: 8,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: false,
    use_dora: false,
    target_modules: null,
    exclude_modules: null,
    modules_to_save: null,
    layers_to_transform: null,
    layers_pattern: null,
    init_lora_weights: true,
    rank_pattern: {},
    alpha_pattern: {},
    ...config,
  };
}
