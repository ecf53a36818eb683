import type { Tensor } from './tensor.js';

/** A weight with the name it has in the Hugging Face checkpoint or the PEFT adapter. */
export class Parameter {
  readonly name: string;
  /** Replaced once at load, never during training: updates are in place. */
  value: Tensor;
  trainable = false;
  /** What the learning rate is multiplied by for it. */
  learningRateFactor = 1;
  /** How often one backward pass delivers a gradient: 2 for tied embeddings. */
  uses = 1;

  constructor(name: string, value: Tensor) {
    this.name = name;
    this.value = value;
  }

  get shape(): readonly number[] {
    return this.value.shape;
  }
  get numElements(): number {
    return this.value.numElements;
  }
}

/** Whether a tensor is the weight of a linear layer of a block. Embeddings, the head, norms, biases and adapters are not. */
export function isLinearWeight(name: string, shape: readonly number[]): boolean {
  return shape.length === 2 && /(?:^|\.)layers\.\d+\..*\.weight$/.test(name);
}
