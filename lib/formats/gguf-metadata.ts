import type { ByteCursor } from './byte-cursor.js';
import { corruptFile, shown } from './file-error.js';
import { decodeUtf8 } from './json-file.js';

/** u64 and i64 are numbers where a double holds them exactly, else bigint. */
export type GgufScalar = number | bigint | boolean | string;
export type GgufValue = GgufScalar | GgufScalar[];

const maxKeyBytes = 65_535; // as the format says
const maxStringBytes = 2 ** 26;
const maxArrayItems = 2 ** 24;

interface ValueType {
  name: string;
  bytes: number;
  read(cursor: ByteCursor, path: string): GgufScalar;
}

const number = (n: bigint): number | bigint => (BigInt.asIntN(54, n) === n ? Number(n) : n);

/** Value types by their number in the file. 9 is the array. */
const valueTypes: Record<number, ValueType> = {
  0: { name: 'u8', bytes: 1, read: (c) => c.u8() },
  1: { name: 'i8', bytes: 1, read: (c) => c.i8() },
  2: { name: 'u16', bytes: 2, read: (c) => c.u16() },
  3: { name: 'i16', bytes: 2, read: (c) => c.i16() },
  4: { name: 'u32', bytes: 4, read: (c) => c.u32() },
  5: { name: 'i32', bytes: 4, read: (c) => c.i32() },
  6: { name: 'f32', bytes: 4, read: (c) => c.f32() },
  7: { name: 'bool', bytes: 1, read: (c, path) => readBool(c, path) },
  8: { name: 'string', bytes: 8, read: (c, path) => readString(c, maxStringBytes, path) },
  10: { name: 'u64', bytes: 8, read: (c) => number(c.u64()) },
  11: { name: 'i64', bytes: 8, read: (c) => number(c.i64()) },
  12: { name: 'f64', bytes: 8, read: (c) => c.f64() },
};
const arrayType = 9;

/** Reads `count` key-value pairs. @throws ERR_MODEL_CORRUPT */
export function readMetadata(cursor: ByteCursor, count: number, path: string): GgufMetadata {
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = readString(cursor, maxKeyBytes, path);
    if (values.has(key)) throw corruptFile(path, `the metadata key ${shown(key)} occurs twice`);
    values.set(key, readValue(cursor, key, path));
  }
  return new GgufMetadata(values, path);
}

function readValue(cursor: ByteCursor, key: string, path: string): GgufValue {
  const typeNumber = cursor.u32();
  if (typeNumber !== arrayType) {
    const { name, read } = scalarType(typeNumber, key, path);
    const value = read(cursor, path);
    return name === 'f32' ? shortestDecimal(value as number) : value;
  }
  const itemType = scalarType(cursor.u32(), key, path);
  const count = cursor.u64();
  if (count > BigInt(maxArrayItems))
    throw corruptFile(path, `the metadata array ${shown(key)} says it has ${count} items, at most ${maxArrayItems} are allowed`);
  cursor.require(Number(count), itemType.bytes, `the metadata array ${shown(key)} of ${count} ${itemType.name}`);
  const items: GgufScalar[] = [];
  for (let i = 0; i < Number(count); i++) items.push(itemType.read(cursor, path));
  return items;
}

function scalarType(typeNumber: number, key: string, path: string): ValueType {
  const found = valueTypes[typeNumber];
  if (!found) throw corruptFile(path, `the metadata key ${shown(key)} has the unknown value type ${typeNumber}`);
  return found;
}

function readBool(cursor: ByteCursor, path: string): boolean {
  const value = cursor.u8();
  if (value > 1) throw corruptFile(path, `a metadata bool has the value ${value}`);
  return value === 1;
}

/** A string with its u64 length before it. @throws ERR_MODEL_CORRUPT */
export function readString(cursor: ByteCursor, maxBytes: number, path: string): string {
  const length = cursor.u64();
  if (length > BigInt(maxBytes))
    throw corruptFile(path, `a string at byte ${cursor.offset} says it has ${length} bytes, at most ${maxBytes} are allowed`);
  return decodeUtf8(cursor.bytes(Number(length), 'a string'), path);
}

/** The shortest decimal that is this f32: 1e-5 instead of 9.999999747378752e-06, as the configuration it came from said. */
function shortestDecimal(x: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === x) return short;
  }
  return x;
}

/** Metadata of a GGUF file with typed, checked access; every getter names the key when the value is unusable. */
export class GgufMetadata {
  readonly values: ReadonlyMap<string, GgufValue>;
  private readonly path: string;

  constructor(values: ReadonlyMap<string, GgufValue>, path: string) {
    this.values = values;
    this.path = path;
  }

  has(key: string): boolean {
    return this.values.has(key);
  }

  string(key: string): string | undefined {
    return this.typed(key, 'a string', (v): v is string => typeof v === 'string');
  }

  boolean(key: string): boolean | undefined {
    return this.typed(key, 'a bool', (v): v is boolean => typeof v === 'boolean');
  }

  /** A finite number. */
  number(key: string): number | undefined {
    return this.typed(key, 'a finite number', (v): v is number => typeof v === 'number' && Number.isFinite(v));
  }

  /** An integer in [0, 2^31). */
  integer(key: string): number | undefined {
    return this.typed(key, 'an integer from 0 to 2^31 - 1', isIndex);
  }

  /** An integer, or an array of equal ones (a value per layer). */
  uniformInteger(key: string): number | undefined {
    const value = this.values.get(key);
    if (!Array.isArray(value)) return this.integer(key);
    if (value.length === 0 || !value.every((v) => isIndex(v) && v === value[0])) throw this.wrong(key, 'one integer for all layers', value);
    return value[0] as number;
  }

  strings(key: string): string[] | undefined {
    return this.typed(key, 'an array of strings', (v): v is string[] => Array.isArray(v) && v.every((s) => typeof s === 'string'));
  }

  numbers(key: string): number[] | undefined {
    return this.typed(key, 'an array of finite numbers', (v): v is number[] => Array.isArray(v) && v.every((n) => Number.isFinite(n)));
  }

  required<T>(key: string, value: T | undefined): T {
    if (value === undefined) throw corruptFile(this.path, `the metadata key ${key} is missing`);
    return value;
  }

  private typed<T>(key: string, wanted: string, accept: (value: unknown) => value is T): T | undefined {
    const value = this.values.get(key);
    if (value === undefined) return undefined;
    if (!accept(value)) throw this.wrong(key, wanted, value);
    return value;
  }

  private wrong(key: string, wanted: string, value: GgufValue): Error {
    const came = Array.isArray(value) ? `an array of ${value.length}` : typeof value === 'number' ? String(value) : shown(value);
    return corruptFile(this.path, `the metadata key ${key} must be ${wanted}, got ${came}`);
  }
}

function isIndex(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}
