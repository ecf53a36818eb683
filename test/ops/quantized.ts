// Quantized rows in JavaScript, written from the formats' definitions and independently of the engine: bytes to values, random
// rows, and the quantization of int8 and NF4.
import { bytesOf, type DType, dtypeNames, dtypes, isQuantized } from '../../lib/core/dtype.js';
import { f16Bits, f16Value } from './storage.js';

const f = Math.fround;

/** Every quantized format of the registry. */
export const quantizedTypes: DType[] = dtypeNames.filter(isQuantized);

/** Every type that a frozen weight can be stored in on the cpu device. */
export const weightTypes: DType[] = ['f32', 'bf16', 'f16', ...quantizedTypes];

/** The next multiple of the type's block. */
export function wholeBlocks(dtype: DType, elements: number): number {
  const { blockElements } = dtypes[dtype];
  return Math.ceil(elements / blockElements) * blockElements;
}

interface BlockFormat {
  elements: number;
  bytes: number;
  decode(block: DataView, out: (i: number, value: number) => void): void;
  /** Puts scales into a block of random bytes, so that values have about the root mean square `rms`. */
  scale(block: DataView, rms: number, uniform: () => number): void;
}

const half = (block: DataView, at: number): number => f16Value(block.getUint16(at, true));
const byte = (block: DataView, at: number): number => block.getUint8(at);
const low = (x: number): number => x & 15;
const high = (x: number): number => x >> 4;

/** A scale for values of this root mean square where a scale of 1 gives `unit`. */
const drawScale = (rms: number, unit: number, uniform: () => number): number =>
  (rms / unit) * (0.5 + uniform()) * (uniform() < 0.5 ? -1 : 1);
const putHalves =
  (unit: number, at: number, minimum?: [at: number, factor: number]) =>
  (block: DataView, rms: number, uniform: () => number): void => {
    const d = drawScale(rms, unit, uniform);
    block.setUint16(at, f16Bits(d), true);
    if (minimum) block.setUint16(minimum[0], f16Bits(minimum[1] * d), true);
  };

/** 32 quants of 4 or 5 bits; the fifth bits are a u32 at `fifths`. */
function small(kind: { bytes: number; nibbles: number; offset: number; unit: number; hasMinimum: boolean; fifths?: number }): BlockFormat {
  const { nibbles, offset, unit, hasMinimum, fifths } = kind;
  const centre = fifths === undefined ? 7.5 : 15.5;
  return {
    elements: 32,
    bytes: kind.bytes,
    decode(block, out) {
      for (let i = 0; i < 32; i++) {
        const pair = byte(block, nibbles + (i % 16));
        const fifth = fifths === undefined ? 0 : (block.getUint32(fifths, true) >>> i) & 1;
        const q = (i < 16 ? low(pair) : high(pair)) + 16 * fifth - offset;
        out(i, hasMinimum ? f(half(block, 0) * q + half(block, 2)) : half(block, 0) * q);
      }
    },
    scale: putHalves(unit, 0, hasMinimum ? [2, -centre] : undefined),
  };
}

/** The eight 6-bit scales and minima of Q4_K and Q5_K: 12 bytes, first the low 6 bits of four scales, of four minima ... */
function sixBits(block: DataView, at: number): { scales: number[]; minima: number[] } {
  const b = Array.from({ length: 12 }, (_, i) => byte(block, at + i));
  const top = (x: number): number => (x >> 6) << 4;
  const first = (from: number): number[] => b.slice(from, from + 4).map((x) => x & 63);
  return {
    scales: [...first(0), ...b.slice(8).map((x, i) => low(x) + top(b[i] as number))],
    minima: [...first(4), ...b.slice(8).map((x, i) => high(x) + top(b[4 + i] as number))],
  };
}

const kDecode = (block: DataView, out: (i: number, value: number) => void, nibbles: number, fifths?: number): void => {
  const { scales, minima } = sixBits(block, 4);
  for (let chunk = 0; chunk < 4; chunk++)
    for (let part = 0; part < 2; part++)
      for (let l = 0; l < 32; l++) {
        const g = 2 * chunk + part;
        const pair = byte(block, nibbles + 32 * chunk + l);
        const q = (part ? high(pair) : low(pair)) + (fifths === undefined ? 0 : 16 * ((byte(block, fifths + l) >> g) & 1));
        out(32 * g + l, f(half(block, 0) * (scales[g] as number) * q - half(block, 2) * (minima[g] as number)));
      }
};

/** f(out index, byte of 2-bit quants, shift) over the halves, quarters and bytes of Q2_K and Q3_K. */
const twoBits = (block: DataView, at: number, each: (i: number, q: number) => void): void => {
  for (let n = 0; n < 2; n++)
    for (let j = 0; j < 4; j++) for (let l = 0; l < 32; l++) each(128 * n + 32 * j + l, (byte(block, at + 32 * n + l) >> (2 * j)) & 3);
};

export const nf4Codebook = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495,
  0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
  0.7229568362236023, 1.0,
];

/** The signed dynamic map of bitsandbytes, by its construction. */
export const dynamicMap = ((): number[] => {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const parts = 2 ** i;
    const step = f((1 - f(0.1)) / parts);
    const edge = (j: number): number => (j < (parts + 1) >> 1 ? f(f(0.1) + step * j) : f(1 - step * (parts - j)));
    for (let j = 0; j < parts; j++) {
      const value = f(f(f(edge(j) + edge(j + 1)) / 2) * f(10 ** (i - 6)));
      values.push(value, -value);
    }
  }
  return values.sort((a, b) => a - b);
})();

const nf4At = (block: DataView, codes: number, i: number): number => {
  const pair = byte(block, codes + (i >> 1));
  return nf4Codebook[i % 2 === 0 ? high(pair) : low(pair)] as number;
};

const formats: Partial<Record<DType, BlockFormat>> = {
  q8_0: {
    elements: 32,
    bytes: 34,
    decode(block, out) {
      for (let i = 0; i < 32; i++) out(i, half(block, 0) * block.getInt8(2 + i));
    },
    scale: putHalves(74, 0),
  },
  q4_0: small({ bytes: 18, nibbles: 2, offset: 8, unit: 4.6, hasMinimum: false }),
  q4_1: small({ bytes: 20, nibbles: 4, offset: 0, unit: 4.6, hasMinimum: true }),
  q5_0: small({ bytes: 22, nibbles: 6, offset: 16, unit: 9.2, hasMinimum: false, fifths: 2 }),
  q5_1: small({ bytes: 24, nibbles: 8, offset: 0, unit: 9.2, hasMinimum: true, fifths: 4 }),
  q2_k: {
    elements: 256,
    bytes: 84,
    decode(block, out) {
      twoBits(block, 16, (i, q) => {
        const pair = byte(block, i >> 4);
        out(i, f(half(block, 80) * low(pair) * q - half(block, 82) * high(pair)));
      });
    },
    scale: putHalves(14, 80, [82, 1.5]),
  },
  q3_k: {
    elements: 256,
    bytes: 110,
    decode(block, out) {
      twoBits(block, 32, (i, q) => {
        const g = i >> 4;
        const nibbles = byte(block, 96 + (g % 8));
        const scale = (g < 8 ? low(nibbles) : high(nibbles)) + 16 * ((byte(block, 104 + (g % 4)) >> (2 * (g >> 2))) & 3) - 32;
        const third = (byte(block, i % 32) >> (i >> 5)) & 1;
        out(i, half(block, 108) * scale * (q + 4 * third - 4));
      });
    },
    scale: putHalves(43, 108),
  },
  q4_k: { elements: 256, bytes: 144, decode: (block, out) => kDecode(block, out, 16), scale: putHalves(258, 0, [2, 7.5]) },
  q5_k: { elements: 256, bytes: 176, decode: (block, out) => kDecode(block, out, 48, 16), scale: putHalves(526, 0, [2, 15.5]) },
  q6_k: {
    elements: 256,
    bytes: 210,
    decode(block, out) {
      for (let n = 0; n < 2; n++)
        for (let j = 0; j < 4; j++)
          for (let l = 0; l < 32; l++) {
            const pair = byte(block, 64 * n + 32 * (j % 2) + l);
            const q = (j < 2 ? low(pair) : high(pair)) + 16 * ((byte(block, 128 + 32 * n + l) >> (2 * j)) & 3) - 32;
            const i = 128 * n + 32 * j + l;
            out(i, half(block, 208) * block.getInt8(192 + (i >> 4)) * q);
          }
    },
    scale: putHalves(1369, 208),
  },
  int8: {
    elements: 64,
    bytes: 68,
    decode(block, out) {
      for (let i = 0; i < 64; i++) out(i, f(block.getFloat32(0, true) * block.getInt8(4 + i)));
    },
    scale: (block, rms, uniform) => block.setFloat32(0, drawScale(rms, 74, uniform), true),
  },
  nf4: {
    elements: 64,
    bytes: 36,
    decode(block, out) {
      for (let i = 0; i < 64; i++) out(i, f(block.getFloat32(0, true) * nf4At(block, 4, i)));
    },
    scale: (block, rms, uniform) => block.setFloat32(0, Math.abs(drawScale(rms, 0.54, uniform)), true),
  },
};

const viewOf = (bytes: Uint8Array, at: number, length: number): DataView => new DataView(bytes.buffer, bytes.byteOffset + at, length);

/** Values of rows of `cols` elements. */
export function decodeQuantized(dtype: DType, bytes: Uint8Array, cols: number): Float64Array<ArrayBuffer> {
  const rowBytes = bytesOf(dtype, cols);
  const rows = cols === 0 ? 0 : bytes.length / rowBytes;
  const out = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    if (dtype === 'nf4_dq') {
      decodeDoubleRow(viewOf(bytes, row * rowBytes, rowBytes), cols, (i, value) => (out[row * cols + i] = value));
      continue;
    }
    const format = formats[dtype] as BlockFormat;
    for (let b = 0; b < cols / format.elements; b++)
      format.decode(viewOf(bytes, row * rowBytes + b * format.bytes, format.bytes), (i, value) => {
        out[row * cols + b * format.elements + i] = value;
      });
  }
  return out;
}

function decodeDoubleRow(row: DataView, cols: number, out: (i: number, value: number) => void): void {
  const header = row.getUint16(6, true);
  for (let b = 0; b < cols / 64; b++) {
    const nested = row.getFloat32(8 + 4 * Math.floor((row.getUint16(4, true) + b) / 256), true);
    const at = header + 33 * b;
    const absmax = f(f((dynamicMap[row.getUint8(at)] as number) * nested) + row.getFloat32(0, true));
    for (let i = 0; i < 64; i++) out(64 * b + i, f(absmax * nf4At(row, at + 1, i)));
  }
}

/** Rows with random scales and quants whose values have about the given root mean square. */
export function randomRows(dtype: DType, shape: readonly number[], rms: number, uniform: () => number): Uint8Array {
  const cols = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const rowBytes = bytesOf(dtype, cols);
  const bytes = Uint8Array.from({ length: rows * rowBytes }, () => Math.floor(uniform() * 256));
  for (let row = 0; row < rows; row++) {
    if (dtype === 'nf4_dq') randomHeader(viewOf(bytes, row * rowBytes, rowBytes), row, cols, rms / 0.54, uniform);
    else {
      const { elements, bytes: blockBytes, scale } = formats[dtype] as BlockFormat;
      for (let b = 0; b < cols / elements; b++) scale(viewOf(bytes, row * rowBytes + b * blockBytes, blockBytes), rms, uniform);
    }
  }
  return bytes;
}

function randomHeader(row: DataView, index: number, cols: number, absmax: number, uniform: () => number): void {
  const blocks = cols / 64;
  row.setFloat32(0, absmax, true);
  row.setUint16(4, (index * 119 + 200) % 256, true);
  row.setUint16(6, row.byteLength - 33 * blocks, true);
  for (let at = 8; at < row.byteLength - 33 * blocks; at += 4) row.setFloat32(at, absmax * (0.3 + 0.5 * uniform()), true);
}

const nearestIndex = (values: readonly number[], x: number): number => {
  let best = 0;
  values.forEach((v, i) => {
    if (Math.abs(f(x - v)) < Math.abs(f(x - (values[best] as number)))) best = i;
  });
  return best;
};

/** The values that rows of a matrix have after quantization, in f32 arithmetic. */
export function quantizedValues(dtype: DType, values: Float64Array, cols: number): Float64Array<ArrayBuffer> {
  const blocks = values.length / 64;
  const absmax = Array.from({ length: blocks }, (_, b) =>
    values.subarray(64 * b, 64 * b + 64).reduce((a, x) => Math.max(a, Math.abs(x)), 0),
  );
  const divisor = (x: number): number => Math.max(x, f(1e-38));
  const stored = dtype === 'nf4_dq' ? doubleQuantized(absmax, divisor) : absmax;
  const bounds = nf4Codebook.slice(1).map((x, i) => f((x + (nf4Codebook[i] as number)) / 2));
  if (cols % 64 !== 0) throw new Error(`${cols} columns are not whole blocks`);
  return Float64Array.from(values, (x, i) => {
    const b = Math.floor(i / 64);
    const largest = absmax[b] as number;
    if (dtype === 'int8') return f(f(largest / 127) * roundToEven(f(x * f(127 * f(1 / Math.max(largest, f(1e-36)))))));
    const scaled = f(x * f(1 / divisor(largest)));
    return f((stored[b] as number) * (nf4Codebook[bounds.filter((bound) => bound < scaled).length] as number));
  });
}

function doubleQuantized(absmax: readonly number[], divisor: (x: number) => number): number[] {
  const offset = f(absmax.reduce((a, b) => a + b, 0) / Math.max(1, absmax.length));
  const centred = absmax.map((x) => f(x - offset));
  return centred.map((x, i) => {
    const from = i - (i % 256);
    const scale = Math.max(...centred.slice(from, from + 256).map(Math.abs));
    const code = nearestIndex(dynamicMap, f(x / divisor(scale)));
    return f(f((dynamicMap[code] as number) * scale) + offset);
  });
}

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
