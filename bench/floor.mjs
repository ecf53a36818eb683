// What one training step of a Llama model cannot do without: floating-point operations, bytes to and from memory, bytes held.
//   Operations: 2 a weight and token forward, 2 for the input gradient, 2 for the weight gradient (full training only); causal attention
//   2 S d a token and layer forward, twice that backward; LoRA 6 a trained weight and token. The head counts for label tokens only;
//   embedding, norms and activations do not count. Block checkpointing adds the forward pass of the blocks.
//   Bytes: weights read once forward and once backward, gradients and optimizer state once each way, kept activations written and read
//   once. Held: weights, state, gradients that have to exist, the activations that a backward without repeated products needs
//   (residual, q, k, v, attention output, residual, gate, up), 128 rows of logits in f32; no runtime.
// The time floor is the larger of operations / rate and bytes / bandwidth.

const storage = { f32: 4, bf16: 2 };

/** Weights by where they are: matrices of the blocks, the head, all parameters; trained weights of LoRA on every matrix of the blocks. */
export function countWeights(config, rank = 16) {
  const { hidden_size: c, intermediate_size: f, num_hidden_layers: layers, head_dim: d, vocab_size: v } = config;
  const [q, kv] = [config.num_attention_heads * d, config.num_key_value_heads * d];
  const [square, narrow, wide] = [
    [c, q],
    [c, kv],
    [c, f],
  ];
  const matrices = [square, narrow, narrow, square, wide, wide, wide];
  const sum = (size) => layers * matrices.reduce((total, [k, n]) => total + size(k, n), 0);
  const body = sum((k, n) => k * n);
  const head = v * c;
  return {
    body,
    head,
    lora: sum((k, n) => rank * (k + n)),
    all: body + head * (config.tie_word_embeddings ? 1 : 2) + (2 * layers + 1) * c,
    // Values a token and layer that a backward pass needs.
    activations: c + q + 2 * kv + q + c + 2 * f,
  };
}

/** Operations, bytes moved and bytes held of a step. `method`: lora, adamw or lomo. `labels`: share of the tokens that carry loss. */
export function stepFloor(config, { method, dtype, batch, length, rank = 16, checkpointing = false, labels = 1 }) {
  const weights = countWeights(config, rank);
  const layers = config.num_hidden_layers;
  const tokens = batch * length;
  const perValue = storage[dtype];
  const attention = 2 * length * config.num_attention_heads * config.head_dim * layers;
  const lora = method === 'lora';

  const products = lora ? 4 : 6;
  const perToken =
    products * (weights.body + labels * weights.head) +
    3 * attention +
    (lora ? 6 * weights.lora : 0) +
    (checkpointing ? 2 * weights.body + attention + (lora ? 2 * weights.lora : 0) : 0);

  const weightBytes = weights.all * perValue;
  const keptBytes = tokens * layers * (checkpointing ? config.hidden_size : weights.activations) * perValue;
  // Weights that train go through memory once more each way; so do their gradients and states where they exist.
  const training = {
    // Adapters: gradient and both moments in f32, written and read, and the weight.
    lora: { moved: 10 * 4 * weights.lora, held: 4 * 4 * weights.lora },
    adamw: { moved: 8 * weightBytes, held: 3 * weightBytes },
    // Only the gradient of the tied head has to wait for the second use of its weight.
    lomo: { moved: 2 * weightBytes, held: weights.head * perValue },
  }[method];
  const moved = 2 * weightBytes + (checkpointing ? weights.body * perValue : 0) + 2 * keptBytes + training.moved;
  const layerBytes = checkpointing ? tokens * weights.activations * perValue : 0;
  const held = weightBytes + keptBytes + layerBytes + Math.min(tokens, 128) * config.vocab_size * 4 + training.held;
  return { flops: perToken * tokens, movedBytes: moved, heldBytes: held };
}

/** Tokens/s that the measured ceilings allow: flops/s of the best matrix product, bytes/s of a copy. */
export function floorTokensPerSecond({ flops, movedBytes }, tokens, { flopsPerSecond, bytesPerSecond }) {
  return tokens / Math.max(flops / flopsPerSecond, movedBytes / bytesPerSecond);
}
