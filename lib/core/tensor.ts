import { FinetuneError } from '../native/errors.js';
import { native } from '../native/loader.js';
import { bytesOf, bytesOfShape, type DType, dtypes } from './dtype.js';
import { allocate, drySegment, type MemoryCategory, release, type Segment } from './memory.js';

/**
 * A view of native memory: a segment, a byte offset, a type and a shape. Owns nothing unless made by `Tensor.allocate`.
 * Rows (the last dimension) may lie apart: `rowStride` elements from one to the next.
 */
export class Tensor {
  /** For messages. */
  readonly name: string;
  readonly segment: Segment;
  readonly byteOffset: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly rowStride: number;
  private freed = false;

  constructor(segment: Segment, byteOffset: number, dtype: DType, shape: readonly number[], name = '', rowStride = shape.at(-1) ?? 1) {
    this.segment = segment;
    this.byteOffset = byteOffset;
    this.dtype = dtype;
    this.shape = shape;
    this.name = name;
    this.rowStride = rowStride;
  }

  /** A tensor with a heap segment of its own; give it back with dispose(). */
  static allocate(dtype: DType, shape: readonly number[], category: MemoryCategory, name = ''): Tensor {
    return new Tensor(allocate(bytesOfShape(dtype, shape), category), 0, dtype, shape, name);
  }

  /** A tensor that only has a shape, for plans. */
  static dry(dtype: DType, shape: readonly number[], name = ''): Tensor {
    return new Tensor({ id: drySegment, bytes: bytesOfShape(dtype, shape) }, 0, dtype, shape, name);
  }

  /** A heap tensor that holds a copy of `values`. f32, f64, i32 or u8. */
  static from(dtype: DType, shape: readonly number[], values: ArrayLike<number>, category: MemoryCategory = 'other', name = ''): Tensor {
    const t = Tensor.allocate(dtype, shape, category, name);
    t.write(values);
    return t;
  }

  get isDry(): boolean {
    return this.segment.id === drySegment;
  }
  get numElements(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }
  get cols(): number {
    return this.shape.at(-1) ?? 1;
  }
  get rows(): number {
    return this.shape.slice(0, -1).reduce((a, b) => a * b, 1);
  }
  get bytes(): number {
    return bytesOfShape(this.dtype, this.shape);
  }
  get isContiguous(): boolean {
    return this.rowStride === this.cols || this.rows <= 1;
  }

  /** The same elements under another shape. Contiguous tensors only. */
  reshape(shape: readonly number[], name = this.name): Tensor {
    const fits = shape.reduce((a, b) => a * b, 1) === this.numElements && bytesOfShape(this.dtype, shape) === this.bytes;
    if (!this.isContiguous || !fits) throw new FinetuneError('ERR_SHAPE', `${this.name}: cannot view [${this.shape}] as [${shape}]`);
    return new Tensor(this.segment, this.byteOffset, this.dtype, shape, name);
  }

  /** Columns [begin, end) of every row, as a strided view. Plain types only. */
  columns(begin: number, end: number, name = this.name): Tensor {
    const offset = this.byteOffset + begin * dtypes[this.dtype].blockBytes;
    return new Tensor(this.segment, offset, this.dtype, [...this.shape.slice(0, -1), end - begin], name, this.rowStride);
  }

  /** Rows [begin, end) of a 1-D or 2-D tensor, as a view. */
  slice(begin: number, end: number, name = this.name): Tensor {
    const oneD = this.shape.length === 1;
    const offset = this.byteOffset + (oneD ? bytesOf(this.dtype, begin) : begin * bytesOf(this.dtype, this.rowStride));
    return new Tensor(
      this.segment,
      offset,
      this.dtype,
      oneD ? [end - begin] : [end - begin, ...this.shape.slice(1)],
      name,
      oneD ? end - begin : this.rowStride,
    );
  }

  /** Copies numbers in. f64, f32, i32, u8 and contiguous only; other types go through ops.cast. */
  write(values: ArrayLike<number>): void {
    const typed = typedArray(this.dtype, values);
    if (typed.length !== this.numElements)
      throw new FinetuneError('ERR_SHAPE', `${this.name}: ${typed.length} values for shape [${this.shape}]`);
    this.writeBytes(new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength));
  }

  writeBytes(bytes: Uint8Array, at = 0): void {
    this.assertLive();
    native((a) => a.write(this.segment.id, this.byteOffset + at, bytes));
  }

  /** Bytes as they lie in memory, `length` from `at`. Contiguous tensors only. */
  readBytes(at = 0, length = this.bytes - at): Uint8Array {
    this.assertLive();
    const bytes = new Uint8Array(length);
    native((a) => a.read(this.segment.id, this.byteOffset + at, bytes));
    return bytes;
  }

  /** Values of a contiguous f64, f32, i32 or u8 tensor. */
  read(): Float64Array | Float32Array | Int32Array | Uint8Array {
    const bytes = this.readBytes();
    switch (this.dtype) {
      case 'f64':
        return new Float64Array(bytes.buffer);
      case 'f32':
        return new Float32Array(bytes.buffer);
      case 'i32':
        return new Int32Array(bytes.buffer);
      case 'u8':
        return bytes;
      default:
        throw new FinetuneError('ERR_DTYPE', `${this.name}: read() takes f64, f32, i32 or u8, got ${this.dtype}; use ops.cast first`);
    }
  }

  /** Marks an arena tensor as dead: any further use throws and names it. Called by Run.free. */
  markFreed(): void {
    this.freed = true;
  }

  /** @throws ERR_DISPOSED after free */
  assertLive(): void {
    if (this.freed) throw new FinetuneError('ERR_DISPOSED', `tensor ${this.name} [${this.shape}] was used after it was freed`);
  }

  /** Gives the whole segment back. Only for tensors made by allocate or from. */
  dispose(): void {
    this.assertLive();
    this.freed = true;
    release(this.segment);
  }
}

function typedArray(dtype: DType, values: ArrayLike<number>): Float64Array | Float32Array | Int32Array | Uint8Array {
  switch (dtype) {
    case 'f64':
      return values instanceof Float64Array ? values : Float64Array.from(values);
    case 'f32':
      return values instanceof Float32Array ? values : Float32Array.from(values);
    case 'i32':
      return values instanceof Int32Array ? values : Int32Array.from(values);
    case 'u8':
      return values instanceof Uint8Array ? values : Uint8Array.from(values);
    default:
      throw new FinetuneError('ERR_DTYPE', `write() takes f64, f32, i32 or u8, got ${dtype}; use ops.cast`);
  }
}
