/** One metadata value with its GGUF type. */
export type Kv = [key: string, type: keyof typeof scalarTypes | 'array', value: unknown, itemType?: keyof typeof scalarTypes];

export interface TensorSpec {
  name: string;
  /** Fastest dimension first, as in the file. */
  dims: (number | bigint)[];
  type: number;
  data?: Uint8Array;
  offset?: bigint;
}

const scalarTypes = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, u64: 10, i64: 11, f64: 12 } as const;

/** Bytes of a GGUF file, valid or not: nothing is checked. */
export function ggufBytes(kvs: Kv[], tensors: TensorSpec[], { version = 3, alignment = 32 } = {}): Buffer {
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(version), u64(tensors.length), u64(kvs.length)];
  for (const [key, type, value, itemType] of kvs) {
    parts.push(text(key));
    if (type === 'array') {
      const items = value as unknown[];
      parts.push(u32(9), u32(scalarTypes[itemType ?? 'string']), u64(items.length), ...items.map((v) => scalar(itemType ?? 'string', v)));
    } else parts.push(u32(scalarTypes[type]), scalar(type, value));
  }
  let offset = 0;
  const data: Buffer[] = [];
  for (const t of tensors) {
    parts.push(text(t.name), u32(t.dims.length), ...t.dims.map(u64), u32(t.type), u64(t.offset ?? offset));
    const bytes = Buffer.from(t.data ?? new Uint8Array());
    data.push(bytes, Buffer.alloc(padding(bytes.length, alignment)));
    offset += bytes.length + padding(bytes.length, alignment);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(padding(header.length, alignment)), ...data]);
}

export function f32Bytes(values: ArrayLike<number>): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

const padding = (length: number, alignment: number): number => (alignment - (length % alignment)) % alignment;

function scalar(type: keyof typeof scalarTypes, value: unknown): Buffer {
  const b = Buffer.alloc(8);
  switch (type) {
    case 'string':
      return text(value as string);
    case 'u8':
    case 'bool':
      b.writeUInt8(Number(value));
      return b.subarray(0, 1);
    case 'i8':
      b.writeInt8(value as number);
      return b.subarray(0, 1);
    case 'u16':
      b.writeUInt16LE(value as number);
      return b.subarray(0, 2);
    case 'i16':
      b.writeInt16LE(value as number);
      return b.subarray(0, 2);
    case 'u32':
      return u32(value as number);
    case 'i32':
      b.writeInt32LE(value as number);
      return b.subarray(0, 4);
    case 'f32':
      b.writeFloatLE(value as number);
      return b.subarray(0, 4);
    case 'u64':
      return u64(value as number | bigint);
    case 'i64':
      b.writeBigInt64LE(BigInt(value as number | bigint));
      return b;
    case 'f64':
      b.writeDoubleLE(value as number);
      return b;
  }
}

function u32(n: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(n);
  return b;
}

function u64(n: number | bigint): Buffer {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(n));
  return b;
}

function text(s: string): Buffer {
  const bytes = Buffer.from(s);
  return Buffer.concat([u64(bytes.length), bytes]);
}
