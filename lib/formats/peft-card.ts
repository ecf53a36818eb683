import type { JsonObject } from './json-file.js';

/** README.md of an adapter folder: the model card that hubs read. */
export function adapterCard(config: JsonObject, notes?: string): string {
  const base = typeof config.base_model_name_or_path === 'string' ? config.base_model_name_or_path : undefined;
  const targets = Array.isArray(config.target_modules) ? config.target_modules.join(', ') : String(config.target_modules);
  const rank =
    config.r === undefined ? '' : `rank ${config.r}, alpha ${config.lora_alpha}${config.use_rslora ? ' (rank-stabilized)' : ''}, `;
  const type = config.use_dora ? 'DoRA' : String(config.peft_type);
  return [
    '---',
    ...(base === undefined ? [] : [`base_model: ${JSON.stringify(base)}`]),
    'library_name: peft',
    'pipeline_tag: text-generation',
    'tags:',
    `- ${type.toLowerCase()}`,
    '- node-finetune',
    '---',
    '',
    `# ${type === 'LORA' ? 'LoRA' : type} adapter`,
    '',
    `A ${type} adapter${base === undefined ? '' : ` for \`${base}\``}: ${rank}on ${targets}. Trained with node-finetune.`,
    '',
    ...(notes === undefined ? [] : [notes, '']),
    'Load it in Python with `PeftModel.from_pretrained(base_model, folder)`, or with `node-finetune generate MODEL --adapter FOLDER`.',
    '',
  ].join('\n');
}
