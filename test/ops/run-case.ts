// Builds the tensors of a case on a device, runs the op and reads its outputs back.
import type { DeviceName } from '../../lib/core/device.js';
import { bytesOf, type DType, isQuantized } from '../../lib/core/dtype.js';
import { allocate, release } from '../../lib/core/memory.js';
import { Tensor } from '../../lib/core/tensor.js';
import type { OpContext } from '../../lib/native/call.js';
import { type FieldSchema, native } from '../../lib/native/loader.js';
import * as ops from '../../lib/native/ops.js';
import { guardByte, TestContext } from './context.js';
import { randomRows } from './quantized.js';
import { normalStream, seedOf, uniformStream } from './random.js';
import { decode, encode, roundTo } from './storage.js';
import { Matrix, type Numbers, type OpCase, type OpSuite, type TensorSpec, type Types } from './suite.js';

const camel = (s: string): string => s.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());

const schemas = new Map(native((a) => a.describe()).ops.map((op) => [op.name, op.fields]));

/** Tensor arguments of an op by their TypeScript name, in order. */
export function tensorFields(op: string): (FieldSchema & { key: string })[] {
  const fields = schemas.get(op);
  if (!fields) throw new Error(`no op ${op} in ops.def`);
  return fields.filter((f) => f.kind === 'tensor').map((f) => ({ ...f, key: camel(f.name) }));
}

type AnyArgs = Record<string, Tensor | number | undefined>;

/** Calls any op by its name in ops.def. */
export function callOp(context: OpContext, op: string, args: AnyArgs): void {
  const wrappers = ops as unknown as Record<string, (context: OpContext, args: AnyArgs) => void>;
  const wrapper = wrappers[camel(op)];
  if (!wrapper) throw new Error(`lib/native/ops.ts has no ${op}: run npm run generate:ops`);
  wrapper(context, args);
}

/** What a case holds before the op runs. */
export interface CaseData {
  numbers: Numbers;
  /** Bytes of every argument with contents, in its own type, dense. */
  bytes: Record<string, Uint8Array>;
  /** The same as values. */
  inputs: Record<string, Matrix>;
}

const rowsOf = (shape: readonly number[]): number => shape.slice(0, -1).reduce((a, b) => a * b, 1);
const colsOf = (shape: readonly number[]): number => shape.at(-1) ?? 1;
const isFloat = (dtype: DType): boolean => dtype === 'f64' || dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';

/** Contents of a case's arguments: the same on every call with the same `draw`. */
export function caseData(suite: OpSuite, c: OpCase, draw = 0): CaseData {
  const data: CaseData = { numbers: {}, bytes: {}, inputs: {} };
  for (const [name, arg] of Object.entries(c.args)) if (typeof arg === 'number') data.numbers[name] = arg;
  const access = new Map(tensorFields(suite.op).map((f) => [f.key, f.access]));
  for (const [name, spec] of Object.entries(c.args)) {
    if (typeof spec === 'number') continue;
    if (!access.has(name)) throw new Error(`${suite.op} has no argument ${name}`);
    if (access.get(name) === 'out') continue;
    const bytes = spec.alias ? data.bytes[spec.alias] : contents(seedOf(`${suite.op} ${c.name} ${name} ${draw}`), spec, data);
    if (!bytes) throw new Error(`${suite.op} ${c.name}: ${name} shares memory with ${spec.alias}, which has no contents`);
    data.bytes[name] = bytes;
    data.inputs[name] = new Matrix(rowsOf(spec.shape), colsOf(spec.shape), decode(spec.dtype, bytes, colsOf(spec.shape)));
  }
  return data;
}

function contents(seed: number, spec: TensorSpec, data: CaseData): Uint8Array {
  const elements = rowsOf(spec.shape) * colsOf(spec.shape);
  const scale = spec.scale ?? 1;
  if (isQuantized(spec.dtype)) return randomRows(spec.dtype, spec.shape, scale, uniformStream(seed));
  let values = typeof spec.values === 'function' ? spec.values(data.inputs, data.numbers) : spec.values;
  if (!values) {
    const normal = normalStream(seed);
    values = Float64Array.from({ length: elements }, () => scale * normal());
  }
  if (values.length !== elements) throw new Error(`${values.length} values for shape [${spec.shape}]`);
  return encode(spec.dtype, values);
}

/** A tensor of a case on a device, with guard bytes before, between and after its rows. */
class Placed {
  readonly tensor: Tensor;
  private readonly bytes: number;
  private readonly start: number;

  constructor(name: string, dtype: DType, spec: TensorSpec) {
    const rowStride = colsOf(spec.shape) + (spec.rowPad ?? 0);
    const extent = rowsOf(spec.shape) * bytesOf(dtype, rowStride);
    this.start = 64 + (spec.skip ? bytesOf(dtype, spec.skip) : 0);
    this.bytes = this.start + extent + 64;
    this.tensor = new Tensor(allocate(this.bytes, 'other'), this.start, dtype, spec.shape, name, rowStride);
    this.write(0, new Uint8Array(this.bytes).fill(guardByte));
  }

  private write(at: number, bytes: Uint8Array): void {
    native((a) => a.write(this.tensor.segment.id, at, bytes));
  }
  private rowBytes(): number {
    return bytesOf(this.tensor.dtype, this.tensor.cols);
  }
  private rowStart(row: number): number {
    return this.start + row * bytesOf(this.tensor.dtype, this.tensor.rowStride);
  }

  fill(dense: Uint8Array): void {
    const n = this.rowBytes();
    for (let r = 0; r < this.tensor.rows; r++) this.write(this.rowStart(r), dense.subarray(r * n, (r + 1) * n));
  }

  /** Dense bytes. @throws when a byte outside the rows was changed */
  read(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    native((a) => a.read(this.tensor.segment.id, 0, all));
    const n = this.rowBytes();
    const dense = new Uint8Array(n * this.tensor.rows);
    for (let r = 0; r < this.tensor.rows; r++) {
      const at = this.rowStart(r);
      dense.set(all.subarray(at, at + n), r * n);
      all.fill(guardByte, at, at + n);
    }
    const stray = all.findIndex((b) => b !== guardByte);
    if (stray >= 0) throw new Error(`${this.tensor.name}: byte ${stray - this.start} outside its rows was written`);
    return dense;
  }
}

/** Outputs of an op, in the type they were stored in. */
export interface Output {
  dtype: DType;
  bytes: Uint8Array;
  values: Float64Array;
}

export interface RunOptions {
  /** Float types are replaced by f64, except where a spec keeps its type. For the reference. */
  double?: boolean;
}

/** Runs a case on a device. Every `in` argument must come back unchanged. */
export function runCase(suite: OpSuite, c: OpCase, device: DeviceName, data: CaseData, options: RunOptions = {}): Record<string, Output> {
  const placed: Record<string, Placed> = {};
  const args: AnyArgs = { ...data.numbers };
  const fields = tensorFields(suite.op);
  try {
    for (const { key } of fields) {
      const spec = c.args[key];
      if (spec === undefined || typeof spec === 'number') continue;
      const widen = options.double && !spec.keepType && (isFloat(spec.dtype) || isQuantized(spec.dtype));
      const dtype = widen ? 'f64' : spec.dtype;
      const place = (spec.alias && placed[spec.alias]) || new Placed(key, dtype, spec);
      placed[key] = place;
      args[key] = place.tensor;
      const values = data.inputs[key];
      if (values && !spec.alias) place.fill(widen ? encode('f64', values.data) : (data.bytes[key] as Uint8Array));
    }
    callOp(new TestContext(device), suite.op, args);
    const outputs: Record<string, Output> = {};
    const written = new Set(fields.filter((f) => f.access !== 'in').map((f) => placed[f.key]));
    for (const { key, access } of fields) {
      const place = placed[key];
      if (!place) continue;
      const bytes = place.read();
      const { dtype } = place.tensor;
      if (access !== 'in') outputs[key] = { dtype, bytes, values: decode(dtype, bytes, place.tensor.cols) };
      else if (!written.has(place) && dtype === (c.args[key] as TensorSpec).dtype && !sameBytes(bytes, data.bytes[key] as Uint8Array))
        throw new Error(`${suite.op} changed its input ${key}`);
    }
    return outputs;
  } finally {
    for (const place of new Set(Object.values(placed))) release(place.tensor.segment);
  }
}

/** Runs the naive loops of a suite in f32, outputs rounded to the types of the case; or all in f64. */
export function runNaive(suite: OpSuite, c: OpCase, data: CaseData, double = false): Record<string, Float64Array> {
  const identity = (x: number): number => x;
  const types: Types = {};
  for (const [name, spec] of Object.entries(c.args)) {
    if (typeof spec === 'number') continue;
    types[name] = { dtype: double && !spec.keepType ? 'f64' : spec.dtype, rows: rowsOf(spec.shape), cols: colsOf(spec.shape) };
  }
  const outputs = suite.naive(data.inputs, data.numbers, double ? identity : Math.fround, types);
  const result: Record<string, Float64Array> = {};
  for (const [name, { data: values }] of Object.entries(outputs)) {
    const spec = c.args[name];
    if (spec === undefined || typeof spec === 'number') continue;
    result[name] = double && !spec.keepType ? values : values.map((x) => roundTo(spec.dtype, x));
  }
  return result;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
