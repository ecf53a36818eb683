import type { Linear } from '../layers/linear.js';
import type { CausalLm } from '../models/causal-lm.js';
import { DoraAdapter } from './dora-adapter.js';
import type { LoraSettings } from './lora.js';
import { LoraAdapter } from './lora-adapter.js';
import { targetModules } from './targets.js';

/**
 * adapter_config.json of a LoRA run, with the keys peft writes. target_modules are last path components where these select
 * exactly the adapted layers, else full paths.
 */
export function loraPeftConfig(model: CausalLm, config: LoraSettings, basePath: string): Record<string, unknown> {
  const all = [...model.linears()];
  const adapted = all.filter((l) => l.adapter);
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: basePath,
    inference_mode: true,
    lora_dropout: config.dropout,
    bias: 'none',
    fan_in_fan_out: false,
    use_dora: adapted.some((l) => l.adapter instanceof DoraAdapter),
    target_modules: targetModules(
      all.map((l) => l.path),
      adapted.map((l) => l.path),
    ),
    modules_to_save: null,
    init_lora_weights: true,
    ...(config.initAdapter === undefined ? configuredScales(config) : actualScales(adapted)),
  };
}

type Scales = {
  r: number;
  lora_alpha: number;
  use_rslora: boolean;
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
};

function configuredScales(config: LoraSettings): Scales {
  return {
    r: config.rank,
    lora_alpha: config.alpha,
    use_rslora: config.useRslora,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
  };
}

// A continued adapter brought ranks and scales of its own; alpha = scale * rank says them without rsLoRA.
function actualScales(adapted: readonly Linear[]): Scales {
  const layers = adapted.flatMap(({ path, adapter }) =>
    adapter instanceof LoraAdapter ? [{ path, rank: adapter.rank, alpha: adapter.scale * adapter.rank }] : [],
  );
  const r = mostFrequent(layers.map((l) => l.rank));
  const alpha = mostFrequent(layers.map((l) => l.alpha));
  return {
    r,
    lora_alpha: alpha,
    use_rslora: false,
    rank_pattern: Object.fromEntries(layers.filter((l) => l.rank !== r).map((l) => [l.path, l.rank])),
    alpha_pattern: Object.fromEntries(layers.filter((l) => l.alpha !== alpha).map((l) => [l.path, l.alpha])),
  };
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const v of values) counts.set(v, (counts.get(v) ?? 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}
