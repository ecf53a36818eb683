import type { AdapterConfig, PeftAdapter } from '../formats/peft-adapter.js';
import type { CausalLm } from '../models/causal-lm.js';
import type { AttachOptions } from './adapter-tensors.js';
import { attachIa3 } from './ia3.js';
import type { MethodName } from './index.js';
import { attachLora } from './lora-load.js';
import type { AppliedMethod } from './method.js';
import { attachNorms } from './norms.js';

/** Puts an adapter of any type that is read on a model. @throws ERR_ADAPTER_MISMATCH */
export function attachAdapter(model: CausalLm, adapter: PeftAdapter<AdapterConfig>, options: AttachOptions): AppliedMethod {
  const { config } = adapter;
  switch (config.peft_type) {
    case 'LORA':
      return attachLora(model, { ...adapter, config }, options);
    case 'IA3':
      return attachIa3(model, adapter, options);
    case 'LN_TUNING':
      return attachNorms(model, adapter, options);
  }
}

/** The method that continues such an adapter. */
export function methodOfAdapter(config: AdapterConfig): MethodName {
  if (config.peft_type === 'IA3') return 'ia3';
  if (config.peft_type === 'LN_TUNING') return 'norms';
  return config.use_dora ? 'dora' : 'lora';
}
