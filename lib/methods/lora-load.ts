import type { FloatType } from '../core/dtype.js';
import type { Tensor } from '../core/tensor.js';
import type { PeftAdapter } from '../formats/peft-adapter.js';
import type { CausalLm } from '../models/causal-lm.js';
import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';
import { LoraAdapter, loraNames, loraScale } from './lora-adapter.js';
import type { TrainedParameter } from './method.js';
import { patternValue } from './targets.js';

/**
 * Puts a PEFT LoRA adapter on the layers it has tensors for. Ranks are those of the tensors, scales those of its configuration.
 * @throws ERR_ADAPTER_MISMATCH listing every tensor without a layer, and every shape that differs
 */
export function attachLora(
  model: CausalLm,
  adapter: PeftAdapter,
  options: { dropout: number; dtype: FloatType; trainable: boolean },
): TrainedParameter[] {
  const { r, lora_alpha: alpha, use_rslora: useRslora, alpha_pattern: alphaPattern } = adapter.config;
  const unused = new Set(adapter.tensors.keys());
  const wrong: string[] = [];
  const result: TrainedParameter[] = [];
  const take = (name: string, shape: readonly number[]): Tensor | undefined => {
    const tensor = adapter.tensors.get(name);
    unused.delete(name);
    if (tensor && `${tensor.shape}` === `${shape}`) return tensor;
    wrong.push(tensor ? `${name} is [${tensor.shape}], the model needs [${shape}]` : `${name} [${shape}] is missing`);
    return undefined;
  };

  for (const linear of model.linears()) {
    const names = loraNames(linear);
    if (!unused.has(names.a) && !unused.has(names.b)) continue;
    const rank = (adapter.tensors.get(names.a) ?? adapter.tensors.get(names.b))?.shape[adapter.tensors.has(names.a) ? 0 : 1] ?? r;
    const a = take(names.a, [rank, linear.inFeatures]);
    const b = take(names.b, [linear.outFeatures, rank]);
    if (!a || !b) continue;
    const scale = loraScale(patternValue(linear.path, alphaPattern) ?? alpha, rank, useRslora);
    const lora = LoraAdapter.create(linear, { rank, scale, dropout: options.dropout, dtype: options.dtype });
    linear.adapter = lora;
    for (const [parameter, x] of [
      [lora.a, a],
      [lora.b, b],
    ] as const) {
      parameter.trainable = options.trainable;
      result.push({ parameter, dtype: options.dtype, initialize: (y, context) => ops.cast(context, { x, y }) });
    }
  }
  for (const name of unused) wrong.push(`${name} has no layer in the model`);
  if (wrong.length > 0)
    throw new FinetuneError(
      'ERR_ADAPTER_MISMATCH',
      `${adapter.path}: the adapter does not fit the model, ${wrong.length} tensors differ:\n  ${wrong.slice(0, 12).join('\n  ')}${wrong.length > 12 ? `\n  and ${wrong.length - 12} more` : ''}`,
      { path: adapter.path, wrong },
    );
  return result;
}
