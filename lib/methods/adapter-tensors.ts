import type { FloatType } from '../core/dtype.js';
import type { Parameter } from '../core/parameter.js';
import type { Tensor } from '../core/tensor.js';
import type { PeftAdapter } from '../formats/peft-adapter.js';
import { FinetuneError } from '../native/errors.js';
import * as ops from '../native/ops.js';
import type { AppliedMethod, TrainedParameter } from './method.js';

/** How a stored adapter is put on a model. */
export interface AttachOptions {
  dropout: number;
  dtype: FloatType;
  /** false: for use alone, nothing trains. */
  trainable: boolean;
}

/** What every module path gets in front in PEFT's files. */
export const peftPrefix = 'base_model.model.';

/** The tensors of a stored adapter as they find their place in a model, and all that do not. */
export class AdapterTensors {
  private readonly adapter: PeftAdapter<unknown>;
  private readonly options: AttachOptions;
  private readonly unused: Set<string>;
  private readonly wrong: string[] = [];
  private readonly attached: TrainedParameter[] = [];

  constructor(adapter: PeftAdapter<unknown>, options: AttachOptions) {
    this.adapter = adapter;
    this.options = options;
    this.unused = new Set(adapter.tensors.keys());
  }

  has(name: string): boolean {
    return this.adapter.tensors.has(name);
  }

  shapeOf(name: string): readonly number[] | undefined {
    return this.adapter.tensors.get(name)?.shape;
  }

  /** The tensor of that name and shape; undefined, and noted, where there is none. */
  take(name: string, shape: readonly number[]): Tensor | undefined {
    const tensor = this.adapter.tensors.get(name);
    this.unused.delete(name);
    if (tensor && `${tensor.shape}` === `${shape}`) return tensor;
    this.wrong.push(tensor ? `${name} is [${tensor.shape}], the model needs [${shape}]` : `${name} [${shape}] is missing`);
    return undefined;
  }

  /** Lets the parameter start from a tensor. */
  fill(parameter: Parameter, x: Tensor): void {
    const { dtype, trainable } = this.options;
    parameter.trainable = trainable;
    this.attached.push({ parameter, dtype, initialize: (y, context) => ops.cast(context, { x, y }) });
  }

  /** What was put on the model. @throws ERR_ADAPTER_MISMATCH listing every tensor without a place, and every shape that differs */
  finish(): AppliedMethod {
    const { wrong, adapter } = this;
    for (const name of this.unused) wrong.push(`${name} has no layer in the model`);
    if (wrong.length === 0) return { trained: this.attached };
    throw new FinetuneError(
      'ERR_ADAPTER_MISMATCH',
      `${adapter.path}: the adapter does not fit the model, ${wrong.length} tensors differ:\n  ${wrong.slice(0, 12).join('\n  ')}${wrong.length > 12 ? `\n  and ${wrong.length - 12} more` : ''}`,
      { path: adapter.path, wrong },
    );
  }
}
