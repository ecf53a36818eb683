import type { LoraConfig } from '../config/schema.js';
import type { CausalLm } from '../models/causal-lm.js';

/**
 * adapter_config.json of a LoRA run, with the keys peft writes. target_modules are last path components where these select
 * exactly the adapted layers, else full paths.
 */
export function loraPeftConfig(model: CausalLm, config: LoraConfig, basePath: string): Record<string, unknown> {
  const all = [...model.linears()];
  const adapted = all.filter((l) => l.adapter);
  const last = (path: string) => path.split('.').at(-1) as string;
  const names = [...new Set(adapted.map((l) => last(l.path)))];
  const exact = all.filter((l) => names.includes(last(l.path))).length === adapted.length;
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: basePath,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: config.useRslora,
    use_dora: false,
    target_modules: exact ? names : adapted.map((l) => l.path),
    modules_to_save: null,
    init_lora_weights: true,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
  };
}
