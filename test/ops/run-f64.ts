// Single ops on the reference in float64, arrays in and out: for gradient checks and identities.
import { release } from '../../lib/core/memory.js';
import { Tensor } from '../../lib/core/tensor.js';
import { TestContext } from './context.js';
import { normalStream } from './random.js';
import { callOp } from './run-case.js';

/** Values with a shape. */
export interface Values {
  shape: readonly number[];
  data: Float64Array | Int32Array;
}

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Seeded normal numbers. */
export function normal(shape: readonly number[], seed: number, scale = 1): Values {
  const next = normalStream(seed);
  return { shape, data: Float64Array.from({ length: elements(shape) }, () => scale * next()) };
}

export function values(shape: readonly number[], data: ArrayLike<number>): Values {
  return { shape, data: Float64Array.from(data) };
}

export function integers(...data: number[]): Values {
  return { shape: [data.length], data: Int32Array.from(data) };
}

export function zeros(...shape: number[]): Values {
  return { shape, data: new Float64Array(elements(shape)) };
}

/** Runs an op; `outputs` and arguments that the op changes come back by name. Inputs keep their values. */
export function runF64(
  op: string,
  args: Record<string, Values | number | undefined>,
  outputs: Record<string, readonly number[]> = {},
  device: 'ref' | 'cpu' = 'ref',
): Record<string, Float64Array> {
  const tensors: Record<string, Tensor> = {};
  const call: Record<string, Tensor | number> = {};
  try {
    for (const [name, arg] of Object.entries(args)) {
      if (arg === undefined) continue;
      if (typeof arg === 'number') call[name] = arg;
      else call[name] = tensors[name] = Tensor.from(arg.data instanceof Int32Array ? 'i32' : 'f64', arg.shape, arg.data);
    }
    for (const [name, shape] of Object.entries(outputs)) call[name] = tensors[name] = Tensor.allocate('f64', shape, 'other', name);
    callOp(new TestContext(device), op, call);
    const result: Record<string, Float64Array> = {};
    for (const [name, t] of Object.entries(tensors)) if (t.dtype === 'f64') result[name] = t.read() as Float64Array;
    return result;
  } finally {
    for (const t of Object.values(tensors)) release(t.segment);
  }
}

export function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
