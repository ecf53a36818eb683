import type { DecoderConfig } from './decoder-config.js';
import { qwen2 } from './qwen2.js';
import { RawConfig } from './raw-config.js';

/** Qwen3 (dense): norms on every query and key head, no biases unless attention_bias says so, head_dim of its own (128). */
export function qwen3(raw: RawConfig): DecoderConfig {
  const config = qwen2(new RawConfig({ head_dim: 128, ...raw.values }, raw.where));
  const attentionBias = raw.bool('attention_bias', false);
  return { ...config, qkNorm: true, biases: { qkv: attentionBias, o: attentionBias, mlp: false } };
}
