// Storage types in JavaScript, written independently of the engine: values to bytes and back.
import { type DType, dtypes } from '../../lib/core/dtype.js';

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

/** Distance between neighbouring numbers of the type at |x|. */
export function ulp(dtype: DType, x: number): number {
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

function f16Bits(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(roundTo('f16', x));
  if (Number.isNaN(a)) return 0x7e00;
  if (a === Infinity) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | (a * 2 ** 24);
  const exponent = Math.floor(Math.log2(a));
  return sign | ((exponent + 15) << 10) | ((a / 2 ** exponent - 1) * 1024);
}

function f16Value(bits: number): number {
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
    else throw new Error(`encode: ${dtype}`);
  }
  return bytes;
}

/** Values of `bytes`; quantized blocks as GGUF defines them (native/core/dequantize.h states the layout). */
export function decode(dtype: DType, bytes: Uint8Array): Float64Array<ArrayBuffer> {
  const { blockBytes, blockElements } = dtypes[dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks = Math.floor(bytes.length / blockBytes);
  const out = new Float64Array(blocks * blockElements);
  for (let b = 0; b < blocks; b++) {
    const at = b * blockBytes;
    switch (dtype) {
      case 'f64':
        out[b] = view.getFloat64(at, true);
        break;
      case 'f32':
        out[b] = view.getFloat32(at, true);
        break;
      case 'bf16':
        out[b] = floatFromBits((view.getUint16(at, true) << 16) >>> 0);
        break;
      case 'f16':
        out[b] = f16Value(view.getUint16(at, true));
        break;
      case 'i32':
        out[b] = view.getInt32(at, true);
        break;
      case 'u8':
        out[b] = view.getUint8(at);
        break;
      default:
        decodeBlock(dtype, view, at, out, b * 32);
    }
  }
  return out;
}

function decodeBlock(dtype: DType, view: DataView, at: number, out: Float64Array, to: number): void {
  const scale = f16Value(view.getUint16(at, true));
  const min = dtype === 'q4_1' ? f16Value(view.getUint16(at + 2, true)) : 0;
  const quants = at + (dtype === 'q4_1' ? 4 : 2);
  for (let i = 0; i < 32; i++) {
    if (dtype === 'q8_0') {
      out[to + i] = scale * view.getInt8(quants + i);
      continue;
    }
    const byte = view.getUint8(quants + (i % 16));
    const q = i < 16 ? byte & 15 : byte >> 4;
    out[to + i] = dtype === 'q4_0' ? scale * (q - 8) : Math.fround(scale * q + min);
  }
}

/** Blocks with random scales and quants whose values have about the given root mean square. */
export function randomBlocks(dtype: DType, elements: number, scale: number, uniform: () => number): Uint8Array {
  const { blockBytes } = dtypes[dtype];
  const bytes = new Uint8Array((elements / 32) * blockBytes);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(uniform() * 256);
  const view = new DataView(bytes.buffer);
  // Uniform quants: root mean square 74 steps of q8_0, 4.6 of 4-bit blocks around their middle.
  const step = scale / (dtype === 'q8_0' ? 74 : 4.6);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const d = step * (0.5 + uniform()) * (uniform() < 0.5 ? -1 : 1);
    view.setUint16(at, f16Bits(d), true);
    if (dtype === 'q4_1') view.setUint16(at + 2, f16Bits(-7.5 * d), true);
  }
  return bytes;
}
