// Weights of a Llama before any training. Needs dist/.

function shapesOf(config) {
  const { hidden_size: c, intermediate_size: f, head_dim: d, num_attention_heads: h, num_key_value_heads: k } = config;
  const block = {
    'input_layernorm.weight': [c],
    'self_attn.q_proj.weight': [h * d, c],
    'self_attn.k_proj.weight': [k * d, c],
    'self_attn.v_proj.weight': [k * d, c],
    'self_attn.o_proj.weight': [c, h * d],
    'post_attention_layernorm.weight': [c],
    'mlp.gate_proj.weight': [f, c],
    'mlp.up_proj.weight': [f, c],
    'mlp.down_proj.weight': [c, f],
  };
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => i);
  return Object.fromEntries([
    ['model.embed_tokens.weight', [config.vocab_size, c]],
    ...layers.flatMap((i) => Object.entries(block).map(([name, shape]) => [`model.layers.${i}.${name}`, shape])),
    ['model.norm.weight', [c]],
    ...(config.tie_word_embeddings ? [] : [['lm_head.weight', [config.vocab_size, c]]]),
  ]);
}

/** Writes weights for a config.json: norm weights 1, everything else normal. The same seed, the same bytes. */
export async function writeRandomWeights(path, config, { seed, standardDeviation, dtype = 'f32' }) {
  const { Tensor } = await import('../dist/core/tensor.js');
  const { nameStream, randomKey } = await import('../dist/core/rng.js');
  const { HostContext } = await import('../dist/formats/host-ops.js');
  const { writeSafetensors } = await import('../dist/formats/safetensors-writer.js');
  const { fill, randomFill } = await import('../dist/native/ops.js');
  const make = (name, shape) => {
    const tensor = Tensor.allocate(dtype, shape, 'weights', name);
    if (shape.length === 1) fill(new HostContext(), { y: tensor, value: 1 });
    else randomFill(new HostContext(), { y: tensor, kind: 1, low: 0, high: standardDeviation, seed: randomKey(seed, nameStream(name)) });
    return tensor;
  };
  const lazy = ([name, shape]) => ({
    name,
    tensor: { dtype, shape, make: () => make(name, shape), release: (tensor) => tensor.dispose() },
  });
  writeSafetensors(path, Object.entries(shapesOf(config)).map(lazy));
}
