import type { PeftAdapter } from '../formats/peft-adapter.js';
import type { CausalLm } from '../models/causal-lm.js';
import { AdapterTensors, type AttachOptions } from './adapter-tensors.js';
import { DoraAdapter, magnitudeName } from './dora-adapter.js';
import { LoraAdapter, loraNames, loraScale } from './lora-adapter.js';
import type { AppliedMethod, FrozenParameter } from './method.js';
import { patternValue } from './targets.js';

/**
 * Puts a PEFT LoRA or DoRA adapter on the layers it has tensors for. Ranks are those of the tensors, scales those of its configuration.
 * @throws ERR_ADAPTER_MISMATCH listing every tensor without a layer, and every shape that differs
 */
export function attachLora(model: CausalLm, adapter: PeftAdapter, options: AttachOptions): AppliedMethod {
  const { r, lora_alpha: alpha, use_rslora: useRslora, use_dora: useDora, alpha_pattern: alphaPattern } = adapter.config;
  const tensors = new AdapterTensors(adapter, options);
  const frozen: FrozenParameter[] = [];
  for (const linear of model.linears()) {
    const names = loraNames(linear);
    if (!tensors.has(names.a) && !tensors.has(names.b)) continue;
    const rank = tensors.shapeOf(names.a)?.[0] ?? tensors.shapeOf(names.b)?.[1] ?? r;
    const a = tensors.take(names.a, [rank, linear.inFeatures]);
    const b = tensors.take(names.b, [linear.outFeatures, rank]);
    const magnitude = useDora ? tensors.take(magnitudeName(linear), [linear.outFeatures]) : undefined;
    if (!a || !b || (useDora && !magnitude)) continue;
    const scale = loraScale(patternValue(linear.path, alphaPattern) ?? alpha, rank, useRslora);
    const shape = { rank, scale, dropout: options.dropout, dtype: options.dtype };
    const lora = magnitude ? DoraAdapter.create(linear, shape) : LoraAdapter.create(linear, shape);
    linear.adapter = lora;
    tensors.fill(lora.a, a);
    tensors.fill(lora.b, b);
    if (!(lora instanceof DoraAdapter) || !magnitude) continue;
    tensors.fill(lora.magnitude, magnitude);
    frozen.push(options.trainable ? lora.squaresOfWeight(options.dtype) : lora.fixedFactors(options.dtype));
  }
  return { ...tensors.finish(), frozen };
}
