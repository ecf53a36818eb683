// The rows of `npm run bench:memory` that PyTorch has too: bench/peers/torch_train.py in a process of its own, each work once.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../scripts/build-native.mjs';

/** Optimizers of torch_train.py for full training, as its --method. */
const fullMethods = ['adamw', 'sgd', 'lomo'];

/** Its --method for a row of the comparison; undefined where PyTorch has no such row, or makes logits whole where the row does not. */
export function peerMethod({ part, config, computedBytes, checkpointing }) {
  const { method, optimizer, quantize } = config;
  if (quantize || method.trainLastLayers !== undefined || Object.keys(optimizer).length > 1) return undefined;
  if (part === 'ladder' && !computedBytes && checkpointing === 'none') return undefined;
  if (method.type === 'lora') return optimizer.type === 'adamw' ? 'lora' : undefined;
  return fullMethods.find((name) => name === optimizer.type);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Steps are for the peak and the speed alone, and a peer waits for steps that nobody disturbs. */
const mostSteps = 3;

/** Measures rows beside. Without NODE_FINETUNE_PYTHON every row is undefined. */
export class MemoryPeers {
  #work;
  #known = new Map();

  /** work: model (a folder with safetensors), batch, length, dtype, steps, threads. */
  constructor(work) {
    this.#work = work;
  }

  /** { resident, tokensPerSecond } of the same training in PyTorch; undefined where there is none. */
  measure(row) {
    const python = process.env.NODE_FINETUNE_PYTHON;
    const method = peerMethod(row);
    if (!python || !method) return undefined;
    const key = `${method} ${row.checkpointing}`;
    if (!this.#known.has(key)) this.#known.set(key, this.#run(python, method, row.checkpointing));
    return this.#known.get(key);
  }

  #run(python, method, checkpointing) {
    const { model, batch, length, dtype, steps, threads } = this.#work;
    const numbers = { batch, length, threads, steps: Math.min(steps, mostSteps), rank: 16, alpha: 32 };
    const args = [
      ...[join(root, 'bench', 'peers', 'torch_train.py'), model, '--method', method, '--dtype', dtype],
      ...(checkpointing === 'block' ? ['--checkpointing'] : []),
      ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]),
    ];
    const { status, stdout, stderr, error } = spawnSync(python, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
    if (status !== 0) {
      console.error(`PyTorch, ${method}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`);
      return undefined;
    }
    const answer = JSON.parse(stdout.trim().split('\n').at(-1));
    return {
      resident: answer.peakRssBytes - answer.rssAfterImportBytes,
      tokensPerSecond: (batch * length) / median(answer.steps.map(({ seconds }) => seconds)),
    };
  }
}
