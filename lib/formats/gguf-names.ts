/** How the tensors of one GGUF architecture differ from the Hugging Face form. */
export interface GgufArchitecture {
  /** model_type of config.json. */
  modelType: string;
  /** Entry of config.json's `architectures`. */
  className: string;
  /** q and k rows are stored in interleaved order: the converter's permutation for ggml's rotary kernel. */
  isPermuted: boolean;
  /** Norm weights are stored as 1 + w. */
  isNormShifted: boolean;
  /** Parts of a layer's tensor names that differ from `layerParts`. */
  parts?: Record<string, string>;
}

const gemmaParts = {
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};

/** The registry of architectures, by general.architecture. Mistral models are stored as llama. */
export const ggufArchitectures: Readonly<Record<string, GgufArchitecture>> = {
  llama: { modelType: 'llama', className: 'LlamaForCausalLM', isPermuted: true, isNormShifted: false },
  qwen2: { modelType: 'qwen2', className: 'Qwen2ForCausalLM', isPermuted: false, isNormShifted: false },
  qwen3: { modelType: 'qwen3', className: 'Qwen3ForCausalLM', isPermuted: false, isNormShifted: false },
  phi3: {
    modelType: 'phi3',
    className: 'Phi3ForCausalLM',
    isPermuted: false,
    isNormShifted: false,
    parts: { attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' },
  },
  gemma: { modelType: 'gemma', className: 'GemmaForCausalLM', isPermuted: false, isNormShifted: true },
  gemma2: { modelType: 'gemma2', className: 'Gemma2ForCausalLM', isPermuted: false, isNormShifted: true, parts: gemmaParts },
  gemma3: { modelType: 'gemma3_text', className: 'Gemma3ForCausalLM', isPermuted: false, isNormShifted: true, parts: gemmaParts },
};

const layerParts: Record<string, string> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

const modelParts: Record<string, string> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

/** Tensors that hold rope frequencies, not weights: they go into config.rope_scaling. */
export const ropeTensors = ['rope_freqs.weight', 'rope_factors_long.weight', 'rope_factors_short.weight'];

/** Hugging Face name of a GGUF tensor, or undefined when this architecture has no such tensor. */
export function huggingFaceName(name: string, architecture: GgufArchitecture): string | undefined {
  if (Object.hasOwn(modelParts, name)) return modelParts[name];
  const [, layer, part, kind] = /^blk\.(0|[1-9]\d{0,5})\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  if (layer === undefined || part === undefined) return undefined;
  const parts = { ...layerParts, ...architecture.parts };
  return Object.hasOwn(parts, part) ? `model.layers.${layer}.${parts[part]}.${kind}` : undefined;
}
