import type { Segment } from '../core/memory.js';
import { corruptFile } from './file-error.js';
import { readMap } from './map-file.js';

const windowBytes = 2 ** 18;

/** Reads little-endian values from a map in order, checking every length against the bytes that are left. */
export class ByteCursor {
  private readonly map: Segment;
  private readonly path: string;
  private window: DataView = new DataView(new ArrayBuffer(0));
  private windowBegin = 0;
  /** Offset of the next byte. */
  offset = 0;

  constructor(map: Segment, path: string) {
    this.map = map;
    this.path = path;
  }

  get bytesLeft(): number {
    return this.map.bytes - this.offset;
  }

  u8 = (): number => this.next(1, (at) => this.window.getUint8(at));
  i8 = (): number => this.next(1, (at) => this.window.getInt8(at));
  u16 = (): number => this.next(2, (at) => this.window.getUint16(at, true));
  i16 = (): number => this.next(2, (at) => this.window.getInt16(at, true));
  u32 = (): number => this.next(4, (at) => this.window.getUint32(at, true));
  i32 = (): number => this.next(4, (at) => this.window.getInt32(at, true));
  f32 = (): number => this.next(4, (at) => this.window.getFloat32(at, true));
  f64 = (): number => this.next(8, (at) => this.window.getFloat64(at, true));
  u64 = (): bigint => this.next(8, (at) => this.window.getBigUint64(at, true));
  i64 = (): bigint => this.next(8, (at) => this.window.getBigInt64(at, true));

  /** Throws unless `count` items of at least `itemBytes` each can follow: bounds an allocation by the file's size. */
  require(count: number, itemBytes: number, what: string): void {
    if (count * itemBytes > this.bytesLeft)
      throw corruptFile(
        this.path,
        `${what} needs at least ${count * itemBytes} bytes at byte ${this.offset}, ${this.bytesLeft} are left; it is truncated or damaged`,
      );
  }

  /** A copy of the next bytes. */
  bytes(count: number, what: string): Uint8Array {
    this.require(count, 1, what);
    const bytes = count <= windowBytes / 4 ? this.fromWindow(count) : readMap(this.map, this.offset, count);
    this.offset += count;
    return bytes;
  }

  private fromWindow(count: number): Uint8Array {
    const at = this.ensure(count);
    return new Uint8Array(this.window.buffer, at, count);
  }

  private next<T>(count: number, read: (at: number) => T): T {
    this.require(count, 1, 'a value');
    const value = read(this.ensure(count));
    this.offset += count;
    return value;
  }

  // Position in the window of the next `count` bytes, which the file has.
  private ensure(count: number): number {
    const at = this.offset - this.windowBegin;
    if (at + count <= this.window.byteLength) return at;
    this.windowBegin = this.offset;
    this.window = new DataView(readMap(this.map, this.offset, Math.min(windowBytes, this.bytesLeft)).buffer);
    return 0;
  }
}
