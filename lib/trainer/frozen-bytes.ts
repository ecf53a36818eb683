import { quantizationBytes } from '../core/dtype.js';
import type { Parameter } from '../core/parameter.js';
import type { QuantizeType } from '../formats/quantized-weights.js';
import type { WeightSource } from '../formats/weights.js';
import type { CausalLm } from '../models/causal-lm.js';

/** Bytes of the weights that do not train, by where they are. */
export interface FrozenBytes {
  mapped: number;
  private: number;
  /** Quantized on load into scratch files. */
  offloaded: number;
  /** Of mapped and of private: scales and minima of quantized blocks. */
  scalesMapped: number;
  scalesPrivate: number;
}

/** Those of the model's weights without what the method added (`ofMethod`). */
export function countFrozen(
  model: CausalLm,
  ofMethod: ReadonlySet<Parameter>,
  weights: WeightSource | undefined,
  quantized: QuantizeType | undefined,
  offload: boolean,
): FrozenBytes {
  const bytes = { mapped: 0, private: 0, offloaded: 0, scalesMapped: 0, scalesPrivate: 0 };
  for (const p of model.parameters()) {
    if (p.trainable || ofMethod.has(p)) continue;
    const { dtype, shape } = p.value;
    if (offload && dtype === quantized) {
      bytes.offloaded += p.value.bytes;
      continue;
    }
    const isPrivate = weights ? weights.has(p.name) && weights.info(p.name).isCopied : dtype === quantized;
    bytes[isPrivate ? 'private' : 'mapped'] += p.value.bytes;
    bytes[isPrivate ? 'scalesPrivate' : 'scalesMapped'] += quantizationBytes(dtype, shape);
  }
  return bytes;
}
