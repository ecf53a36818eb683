// Storage types in JavaScript, written independently of the engine: values to bytes and back. quantized.ts has the blocks.
import { type DType, dtypes, isQuantized } from '../../lib/core/dtype.js';
import { decodeQuantized } from './quantized.js';

const word = new DataView(new ArrayBuffer(8));

function floatBits(x: number): number {
  word.setFloat32(0, x);
  return word.getUint32(0);
}

function floatFromBits(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

/** 2^exponent of the leading bit and the number of bits after it. */
const precision: Partial<Record<DType, { mantissa: number; minExponent: number; max: number }>> = {
  f64: { mantissa: 52, minExponent: -1022, max: Number.MAX_VALUE },
  f32: { mantissa: 23, minExponent: -126, max: 3.4028234663852886e38 },
  bf16: { mantissa: 7, minExponent: -126, max: 3.3895313892515355e38 },
  f16: { mantissa: 10, minExponent: -14, max: 65504 },
};

/** Distance between neighbouring numbers of the type at |x|; of codes, one. */
export function ulp(dtype: DType, x: number): number {
  if (dtype === 'u8') return 1;
  const p = precision[dtype];
  if (!p || !Number.isFinite(x)) return 0;
  const exponent = x === 0 ? p.minExponent : Math.max(p.minExponent, Math.floor(Math.log2(Math.abs(x))));
  return 2 ** (exponent - p.mantissa);
}

/** x rounded to the nearest number of the type, ties to even; 16-bit types by way of f32. Other types: as it is. */
export function roundTo(dtype: DType, x: number): number {
  if (dtype === 'f32') return Math.fround(x);
  if (dtype !== 'bf16' && dtype !== 'f16') return x;
  const f = Math.fround(x);
  if (!Number.isFinite(f) || f === 0) return f;
  const step = ulp(dtype, f);
  const quotient = f / step; // exact: step is a power of two
  const floor = Math.floor(quotient);
  const rest = quotient - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  const rounded = (up ? floor + 1 : floor) * step;
  return Math.abs(rounded) > (precision[dtype]?.max ?? 0) ? Math.sign(rounded) * Infinity : rounded;
}

export function f16Bits(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(roundTo('f16', x));
  if (Number.isNaN(a)) return 0x7e00;
  if (a === Infinity) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | (a * 2 ** 24);
  const exponent = Math.floor(Math.log2(a));
  return sign | ((exponent + 15) << 10) | ((a / 2 ** exponent - 1) * 1024);
}

export function f16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** Bytes of `values` in a plain type, rounded to nearest. */
export function encode(dtype: DType, values: ArrayLike<number>): Uint8Array {
  const size = dtypes[dtype].blockBytes;
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) {
    const x = values[i] as number;
    if (dtype === 'f64') view.setFloat64(i * 8, x, true);
    else if (dtype === 'f32') view.setFloat32(i * 4, x, true);
    else if (dtype === 'bf16') view.setUint16(i * 2, floatBits(roundTo('bf16', x)) >>> 16, true);
    else if (dtype === 'f16') view.setUint16(i * 2, f16Bits(x), true);
    else if (dtype === 'i32') view.setInt32(i * 4, x, true);
    else if (dtype === 'u8') view.setUint8(i, x);
    else throw new Error(`encode: ${dtype}`);
  }
  return bytes;
}

/** Values of the `bytes` of dense rows of `cols` elements. */
export function decode(dtype: DType, bytes: Uint8Array, cols: number): Float64Array<ArrayBuffer> {
  if (isQuantized(dtype)) return decodeQuantized(dtype, bytes, cols);
  const { blockBytes } = dtypes[dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const value = (at: number): number => {
    switch (dtype) {
      case 'f64':
        return view.getFloat64(at, true);
      case 'f32':
        return view.getFloat32(at, true);
      case 'bf16':
        return floatFromBits((view.getUint16(at, true) << 16) >>> 0);
      case 'f16':
        return f16Value(view.getUint16(at, true));
      case 'i32':
        return view.getInt32(at, true);
      default:
        return view.getUint8(at);
    }
  };
  return Float64Array.from({ length: bytes.length / blockBytes }, (_, i) => value(i * blockBytes));
}
