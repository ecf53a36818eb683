import { resolve } from 'node:path';
import { z } from 'zod';
import { resolveOptions } from './config/resolve.js';
import { type DType, type FloatType, isQuantized } from './core/dtype.js';
import type { Parameter } from './core/parameter.js';
import { Tensor } from './core/tensor.js';
import { writeModelFolder } from './formats/export-model.js';
import { HostContext } from './formats/host-ops.js';
import type { TensorToWrite } from './formats/safetensors-writer.js';
import type { LoadedModel } from './loaded-model.js';
import { LoraAdapter } from './methods/lora-adapter.js';
import { FinetuneError } from './native/errors.js';
import * as ops from './native/ops.js';

const mergeOptionsSchema = z.strictObject({
  dtype: z.enum(['f32', 'f16', 'bf16']).optional().describe('Storage type of the merged weights'),
  overwrite: z.boolean().default(false).describe('Replace out if it exists'),
});

/** Settings of `merge`; everything may be left out. */
export type MergeOptions = z.input<typeof mergeOptionsSchema>;

/** A layer that the adapter changed. */
export interface MergedLayer {
  name: string;
  /** Frobenius norm of the change s B A. */
  changeNorm: number;
  /** The same as a share of the norm of the weight before. */
  relativeChange: number;
}

export interface MergeResult {
  /** Folder of the merged model. */
  out: string;
  /** Weight files in it. */
  files: string[];
  /** Type that the matrices are stored in. */
  dtype: FloatType;
  /** Storage type of the base where it was quantized, which cannot hold the change. */
  dequantizedFrom?: DType;
  layers: MergedLayer[];
}

/** Writes W + s B A for every adapted layer and the rest as it is; one matrix is in memory at a time. */
export function mergeModel(model: LoadedModel, out: string, input: MergeOptions): MergeResult {
  const options = resolveOptions(mergeOptionsSchema, input);
  model.assertOpen();
  const adapters = new Map<Parameter, LoraAdapter>();
  for (const linear of model.lm.linears()) if (linear.adapter instanceof LoraAdapter) adapters.set(linear.weight, linear.adapter);
  if (adapters.size === 0)
    throw new FinetuneError('ERR_CONFIG_INVALID', 'there is no adapter to merge: load the model with one (loadModel with adapter)');
  for (const used of [model.path, model.adapterPath])
    if (used !== undefined && resolve(used) === resolve(out))
      throw new FinetuneError('ERR_CONFIG_INVALID', `${out}: is what is merged, and would be overwritten; choose another folder`, { out });

  const ofAdapters = new Set([...adapters.values()].flatMap((a) => [...a.parameters()]));
  const base = [...model.lm.parameters()].filter((p) => !ofAdapters.has(p));
  const stored = mainType(base);
  const dtype = options.dtype ?? (isQuantized(stored) ? 'bf16' : (stored as FloatType));
  // Left alone, tensors of another type than most (norms in f32) keep it; a quantized model has no type to keep.
  const forAll = options.dtype ?? (isQuantized(stored) ? dtype : undefined);
  const layers: MergedLayer[] = [];
  const tensors = base.map((p): TensorToWrite => {
    const adapter = adapters.get(p);
    const own = isQuantized(p.value.dtype) ? dtype : (p.value.dtype as FloatType);
    if (!adapter) return { name: p.name, tensor: p.value, dtype: forAll ?? own };
    const make = () => merged(p, adapter, new HostContext(model.device), layers);
    return { name: p.name, tensor: { dtype: 'f32', shape: p.shape, make, release: (t) => t.dispose() }, dtype: forAll ?? own };
  });
  const files = writeModelFolder(out, { source: model.source, tensors, overwrite: options.overwrite });
  return { out, files, dtype, ...(isQuantized(stored) && { dequantizedFrom: stored }), layers };
}

/** Storage type that most elements of the matrices have. */
function mainType(parameters: readonly Parameter[]): DType {
  const elements = new Map<DType, number>();
  for (const { value } of parameters)
    if (value.shape.length > 1) elements.set(value.dtype, (elements.get(value.dtype) ?? 0) + value.numElements);
  return [...elements].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'f32';
}

const chunkElements = 2 ** 20;

/** W + s B A in f32, row chunk by row chunk; notes how large the change is. */
function merged(p: Parameter, { a, b, scale }: LoraAdapter, context: HostContext, layers: MergedLayer[]): Tensor {
  const [rows, cols] = p.shape as [number, number];
  const step = Math.max(1, Math.min(rows, Math.floor(chunkElements / cols)));
  const temporary: Tensor[] = [];
  const make = (dtype: DType, shape: readonly number[], name: string) => {
    const t = Tensor.allocate(dtype, shape, 'other', name);
    temporary.push(t);
    return t;
  };
  const w = Tensor.allocate('f32', p.shape, 'other', p.name);
  try {
    const scaled = make('f32', b.shape, 'scaled B');
    const change = make('f32', [step, cols], 'change');
    const squares = make('f64', [2], 'sums of squares');
    const [before, changed] = [squares.slice(0, 1), squares.slice(1, 2)];
    ops.cast(context, { x: p.value, y: w });
    ops.sumOfSquares(context, { x: w, out: before });
    ops.scale(context, { x: b.value, y: scaled, scale });
    for (let begin = 0; begin < rows; begin += step) {
      const end = Math.min(rows, begin + step);
      const delta = change.slice(0, end - begin);
      ops.linearBackwardInput(context, { dy: scaled.slice(begin, end), weight: a.value, dx: delta });
      ops.sumOfSquares(context, { x: delta, out: changed });
      const part = w.slice(begin, end);
      ops.add(context, { a: part, b: delta, y: part });
    }
    const [weight, change2] = squares.read() as Float64Array;
    const changeNorm = Math.sqrt(change2 as number);
    layers.push({ name: p.name, changeNorm, relativeChange: changeNorm / Math.sqrt(weight as number) });
    return w;
  } catch (error) {
    w.dispose();
    throw error;
  } finally {
    for (const t of temporary) t.dispose();
  }
}
