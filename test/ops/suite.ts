// What a test case of an op is: plain data, from which tests, gradient checks and benchmarks build tensors.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DType } from '../../lib/core/dtype.js';

/** Dense values of a tensor, rows x cols, as the op reads them. */
export class Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array<ArrayBuffer>;

  constructor(rows: number, cols: number, data: Float64Array<ArrayBuffer> = new Float64Array(rows * cols)) {
    this.rows = rows;
    this.cols = cols;
    this.data = data;
  }
  at(i: number, j: number): number {
    return this.data[i * this.cols + j] as number;
  }
  set(i: number, j: number, value: number): void {
    this.data[i * this.cols + j] = value;
  }
  /** Element i in row-major order. */
  get(i: number): number {
    return this.data[i] as number;
  }
}

/** Arguments as an op sees them: tensors by name, as values; left-out ones are undefined. */
export type Inputs = Record<string, Matrix | undefined>;
export type Numbers = Record<string, number>;
/** Type and shape of the tensors given, outputs included. */
export type Types = Record<string, { dtype: DType; rows: number; cols: number } | undefined>;

export interface TensorSpec {
  dtype: DType;
  shape: readonly number[];
  /** Elements between the end of a row and the start of the next. Default 0. */
  rowPad?: number;
  /** Elements to skip at the start of the memory, to break alignment. Default 0. */
  skip?: number;
  /** Root mean square of normal random contents; default 1. Only `in` and `inout` arguments have contents. */
  scale?: number;
  /** Contents, instead of random ones; may depend on the tensors before it. */
  values?: ArrayLike<number> | ((before: Record<string, Matrix>, numbers: Numbers) => ArrayLike<number>);
  /** Name of an earlier argument whose memory this one shares. */
  alias?: string;
  /** The reference normally gets float tensors in f64; true keeps the type, where the type is part of the meaning. */
  keepType?: boolean;
}

export interface OpCase {
  name: string;
  args: Record<string, TensorSpec | number>;
}

/** f32 or f64 arithmetic: rounds the result of one operation. */
export type Round = (x: number) => number;

export interface OpSuite {
  /** Name in native/ops/ops.def. */
  op: string;
  cases: OpCase[];
  /** Larger shapes for bench/ops. */
  bench?: OpCase[];
  /** Outputs that are stored in a finer type than they are computed in. */
  precision?: Record<string, DType>;
  /**
   * The op as plain loops, every result rounded by `f`, sums sequential. Returns each output's new values.
   * With f = Math.fround it is the yardstick for the error of a kernel, with f = identity a second opinion on the reference.
   */
  naive(inputs: Inputs, numbers: Numbers, f: Round, types: Types): Record<string, Matrix>;
}

/** Every suite of test/ops/*.cases.ts, in the order of file names. */
export async function loadSuites(): Promise<OpSuite[]> {
  const folder = import.meta.dirname;
  const suites: OpSuite[] = [];
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith('.cases.ts')) continue;
    const loaded = (await import(pathToFileURL(join(folder, file)).href)) as { suites: OpSuite[] };
    suites.push(...loaded.suites);
  }
  return suites;
}

/** A tensor argument. */
export function tensor(dtype: DType, shape: readonly number[], options: Omit<TensorSpec, 'dtype' | 'shape'> = {}): TensorSpec {
  return { dtype, shape, ...options };
}
