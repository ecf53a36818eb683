// The model of the benchmarks: SmolLM2-135M's shape with random weights, made at first use and kept below .cache.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../scripts/build-native.mjs';
import { writeRandomWeights } from '../scripts/random-weights.mjs';

/** The same model with real weights in Q4_1, where the shared models lie beside the checkout. */
export const sharedGguf = join(root, '..', 'shared', 'models', 'smollm2-135m-instruct', 'SmolLM2-135M-Instruct.Q4_1.gguf');

const torchNames = { f32: 'float32', bf16: 'bfloat16' };

/** Its config.json. */
export function smolLm2Config(layers = 30, dtype = 'f32') {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: 49152,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: layers,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    hidden_act: 'silu',
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 100000,
    tie_word_embeddings: true,
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: 0,
    eos_token_id: 0,
    torch_dtype: torchNames[dtype],
  };
}

/** Folder of the model, complete once it has a config.json. Needs dist/. */
export async function randomModel(layers, dtype) {
  const folder = join(root, '.cache', 'bench', `smollm2-135m-shape-${layers}-${dtype}`);
  if (!existsSync(join(folder, 'config.json'))) {
    mkdirSync(folder, { recursive: true });
    const config = smolLm2Config(layers, dtype);
    await writeRandomWeights(join(folder, 'model.safetensors'), config, { seed: 0, standardDeviation: 0.02, dtype });
    writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  }
  return folder;
}
