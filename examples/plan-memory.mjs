// Asks for the memory of a training run before anything is loaded. A bare config.json is enough: this one is of Llama 3.1 8B's shape.
import { writeFileSync } from 'node:fs';
import { plan, planFit } from 'node-finetune';

writeFileSync(
  'config.json',
  JSON.stringify({
    model_type: 'llama',
    vocab_size: 128256,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    rope_theta: 500000,
    torch_dtype: 'bfloat16',
  }),
);
const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
const settings = { model: 'config.json', dtype: 'bf16', batchSize: 1, maxLength: 2048 };

const methods = {
  LoRA: { method: { type: 'lora', rank: 16 } },
  'LoRA, blocks recomputed': { method: { type: 'lora', rank: 16 }, checkpointing: 'block' },
  'all weights, AdamW': { method: { type: 'full' }, optimizer: { type: 'adamw' }, checkpointing: 'block' },
  'all weights, LOMO': { method: { type: 'full' }, optimizer: { type: 'lomo' }, checkpointing: 'block' },
};
for (const [name, method] of Object.entries(methods)) {
  const { bytes } = plan({ ...settings, ...method });
  console.log(`${name}: ${gib(bytes.total)} (gradients ${gib(bytes.gradients)}, optimizer state ${gib(bytes.optimizer)})`);
}

// What changes least and fits into 24 GiB?
const [best] = planFit({ ...settings, method: { type: 'full' } }, 24 * 2 ** 30);
console.log(best ? `24 GiB: ${JSON.stringify(best.config)} takes ${gib(best.plan.bytes.total)}` : 'nothing fits into 24 GiB');
