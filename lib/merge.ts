import { resolve } from 'node:path';
import { z } from 'zod';
import { resolveOptions } from './config/resolve.js';
import { type DType, type FloatType, isQuantized } from './core/dtype.js';
import type { Parameter } from './core/parameter.js';
import { Tensor } from './core/tensor.js';
import { writeModelFolder } from './formats/export-model.js';
import { HostContext } from './formats/host-ops.js';
import { QuantizedWeights } from './formats/quantized-weights.js';
import type { TensorToWrite } from './formats/safetensors-writer.js';
import { generateIds } from './generate/generate.js';
import { generateOptionsSchema } from './generate/options.js';
import { sequenceLogits } from './generate/prompt-logits.js';
import type { LinearAdapter } from './layers/linear.js';
import { LoadedModel } from './loaded-model.js';
import { FinetuneError } from './native/errors.js';
import * as ops from './native/ops.js';

const mergeOptionsSchema = z.strictObject({
  dtype: z.enum(['f32', 'f16', 'bf16']).optional().describe('Storage type of the merged weights'),
  base: z
    .enum(['dequantized', 'original'])
    .default('dequantized')
    .describe('Weights the change is added to where the model was quantized: those it was trained on, or those of the file'),
  overwrite: z.boolean().default(false).describe('Replace out if it exists'),
});

/** Settings of `merge`; everything may be left out. */
export type MergeOptions = z.input<typeof mergeOptionsSchema>;

/** A layer that the adapter changed. */
export interface MergedLayer {
  name: string;
  /** Frobenius norm of the change. */
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
  /** How far the merged model is from the one that was trained, where the base was quantized. */
  difference?: MergeDifference;
}

/** Measured on text that the trained model writes itself: temperature 1, from its first token on. */
export interface MergeDifference {
  /** KL(trained || merged) per token, in nats. */
  klDivergence: number;
  /** Largest difference of two logits. */
  maxLogitDifference: number;
  tokens: number;
}

/** Writes every adapted layer as one weight and the rest as it is; one matrix is in memory at a time. */
export async function mergeModel(model: LoadedModel, out: string, input: MergeOptions): Promise<MergeResult> {
  const options = resolveOptions(mergeOptionsSchema, input);
  model.assertOpen();
  const adapters = new Map<Parameter, LinearAdapter>();
  const biases = new Map<Parameter, LinearAdapter>();
  for (const { adapter, weight, bias } of model.lm.linears()) {
    if (!adapter) continue;
    adapters.set(weight, adapter);
    if (bias && adapter.mergeBias) biases.set(bias, adapter);
  }
  if (model.adapterPath === undefined)
    throw new FinetuneError('ERR_CONFIG_INVALID', 'there is no adapter to merge: load the model with one (loadModel with adapter)');
  for (const used of [model.path, model.adapterPath])
    if (used !== undefined && resolve(used) === resolve(out))
      throw new FinetuneError('ERR_CONFIG_INVALID', `${out}: is what is merged, and would be overwritten; choose another folder`, { out });

  const ofAdapters = new Set([...adapters.values()].flatMap((a) => [...a.parameters()]));
  const original = options.base === 'original' ? originalWeights(model) : undefined;
  const base = [...model.lm.parameters()].filter((p) => !ofAdapters.has(p));
  const stored = mainType(base);
  const written = original ? mainType(base, original) : stored;
  const dtype = options.dtype ?? (isQuantized(written) ? 'bf16' : (written as FloatType));
  // Left alone, tensors of another type than most (norms in f32) keep it; a quantized model has no type to keep.
  const forAll = options.dtype ?? (isQuantized(written) ? dtype : undefined);
  const layers: MergedLayer[] = [];
  const tensors = base.map((p): TensorToWrite => {
    const adapter = adapters.get(p);
    const value = (isQuantized(p.value.dtype) ? original?.(p.name) : undefined) ?? p.value;
    const own = isQuantized(value.dtype) ? dtype : (value.dtype as FloatType);
    const ofBias = biases.get(p);
    if (!adapter && !ofBias) return { name: p.name, tensor: value, dtype: forAll ?? storedType(model, p) ?? own };
    const context = new HostContext(model.device);
    const make = () => (adapter ? merged(p, value, adapter, context, layers) : mergedBias(value, ofBias as LinearAdapter, context));
    return { name: p.name, tensor: { dtype: 'f32', shape: p.shape, make, release: (t) => t.dispose() }, dtype: forAll ?? own };
  });
  const files = writeModelFolder(out, { source: model.source, tensors, overwrite: options.overwrite });
  if (!isQuantized(stored)) return { out, files, dtype, layers };
  return { out, files, dtype, dequantizedFrom: stored, layers, difference: await differenceOf(model, out) };
}

/** The type that the file has a weight in, where an adapter brought it in another. */
function storedType({ weights }: LoadedModel, { name }: Parameter): FloatType | undefined {
  const dtype = weights.has(name) ? weights.info(name).dtype : undefined;
  return dtype === undefined || isQuantized(dtype) ? undefined : (dtype as FloatType);
}

/** Weights as they were before they were quantized on load. */
function originalWeights({ weights, path }: LoadedModel): (name: string) => Tensor {
  if (weights instanceof QuantizedWeights) return (name) => weights.original(name);
  throw new FinetuneError(
    'ERR_CONFIG_INVALID',
    `base: ${path} was not quantized on load, so it has no other weights than its own; use base dequantized, or load the unquantized model with quantize`,
    { path },
  );
}

const probeTokens = 64;

/** Merged against trained, on a text that the trained model writes. */
async function differenceOf(model: LoadedModel, out: string): Promise<MergeDifference> {
  const first = model.source.config.bos_token_id;
  const ids = [Number.isInteger(first) ? (first as number) : 0];
  const sampling = generateOptionsSchema.parse({ temperature: 1, seed: 0, maxNewTokens: probeTokens });
  for await (const id of generateIds(model, ids.slice(), sampling, undefined)) ids.push(id);
  const merged = new LoadedModel({ path: out, dtype: model.dtype as 'f32' | 'bf16' });
  const made: Tensor[] = [];
  try {
    const keep = (t: Tensor): Tensor => made[made.push(t) - 1] as Tensor;
    const difference = keep(Tensor.allocate('f64', [2], 'other', 'difference'));
    ops.logitDifference(new HostContext(model.device), {
      p: keep(sequenceLogits(model, ids)),
      q: keep(sequenceLogits(merged, ids)),
      out: difference,
    });
    const [divergence, largest] = difference.read() as Float64Array as unknown as [number, number];
    return { klDivergence: divergence / ids.length, maxLogitDifference: largest, tokens: ids.length };
  } finally {
    for (const t of made) t.dispose();
    merged.dispose();
  }
}

/** Storage type that most elements of the matrices have. */
function mainType(parameters: readonly Parameter[], original?: (name: string) => Tensor): DType {
  const elements = new Map<DType, number>();
  for (const value of parameters.map((p) => original?.(p.name) ?? p.value))
    if (value.shape.length > 1) elements.set(value.dtype, (elements.get(value.dtype) ?? 0) + value.numElements);
  return [...elements].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'f32';
}

const chunkElements = 2 ** 20;

/** The weight with its adapter in f32, row chunk by row chunk; notes how large the change is. */
function merged(p: Parameter, value: Tensor, adapter: LinearAdapter, context: HostContext, layers: MergedLayer[]): Tensor {
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
    const change = make('f32', [step, cols], 'change');
    const squares = make('f64', [2], 'sums of squares');
    const [before, changed] = [squares.slice(0, 1), squares.slice(1, 2)];
    ops.cast(context, { x: value, y: w });
    ops.sumOfSquares(context, { x: w, out: before });
    for (let begin = 0; begin < rows; begin += step) {
      const end = Math.min(rows, begin + step);
      const part = w.slice(begin, end);
      const delta = change.slice(0, end - begin);
      ops.scale(context, { x: part, y: delta, scale: -1 });
      adapter.mergeRows(part, begin, context);
      ops.add(context, { a: part, b: delta, y: delta });
      ops.sumOfSquares(context, { x: delta, out: changed });
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

function mergedBias(value: Tensor, adapter: LinearAdapter, context: HostContext): Tensor {
  const bias = Tensor.allocate('f32', value.shape, 'other', value.name);
  ops.cast(context, { x: value, y: bias });
  adapter.mergeBias?.(bias, context);
  return bias;
}
