/** Types of single elements, by the number the native side knows them by (native/core/dtype.h). */
const plainTypes = { f64: 8, f32: 4, f16: 2, bf16: 2, i32: 4, u8: 1 } as const;

/** Quantized formats, in the order of native/formats/formats.def: elements and bytes of a block, bits of a quant. A test compares both tables. */
const quantizedFormats = {
  q8_0: [32, 34, 8],
  q4_0: [32, 18, 4],
  q4_1: [32, 20, 4],
  q5_0: [32, 22, 5],
  q5_1: [32, 24, 5],
  q2_k: [256, 84, 2],
  q3_k: [256, 110, 3],
  q4_k: [256, 144, 4],
  q5_k: [256, 176, 5],
  q6_k: [256, 210, 6],
  int8: [64, 68, 8],
  nf4: [64, 36, 4],
  nf4_dq: [64, 33, 4],
} as const;

export type DType = keyof typeof plainTypes | keyof typeof quantizedFormats;

interface DTypeInfo {
  index: number;
  /** Elements that share a block; 1 for plain types. */
  blockElements: number;
  blockBytes: number;
}

/** Storage types of tensor elements. */
export const dtypes = Object.fromEntries(
  [
    ...Object.entries(plainTypes).map(([name, bytes]) => [name, 1, bytes] as const),
    ...Object.entries(quantizedFormats).map(([name, [elements, bytes]]) => [name, elements, bytes] as const),
  ].map(([name, blockElements, blockBytes], index) => [name, { index, blockElements, blockBytes }]),
) as Record<DType, DTypeInfo>;

export const dtypeNames = Object.keys(dtypes) as DType[];

/** Float types that activations, gradients and trained weights can have. */
export type FloatType = 'f64' | 'f32' | 'f16' | 'bf16';

/** Bytes of a row of `elements` elements. Quantized rows must be whole blocks; the native side checks that. */
export function bytesOf(dtype: DType, elements: number): number {
  const { blockElements, blockBytes } = dtypes[dtype];
  return headerBytes(dtype, elements) + Math.ceil(elements / blockElements) * blockBytes;
}

// Rows of NF4 with double quantization begin with what their blocks share: native/formats/nf4_dq.h.
function headerBytes(dtype: DType, elements: number): number {
  return dtype === 'nf4_dq' ? 8 + 4 * (Math.floor((elements / dtypes.nf4_dq.blockElements + 254) / 256) + 1) : 0;
}

/** Bytes of a tensor that are scales and minima rather than quants; 0 for plain types. */
export function quantizationBytes(dtype: DType, shape: readonly number[]): number {
  if (!isQuantizedFormat(dtype)) return 0;
  const elements = shape.reduce((a, b) => a * b, 1);
  return bytesOfShape(dtype, shape) - (elements * quantizedFormats[dtype][2]) / 8;
}

/** Bytes of a dense tensor. */
export function bytesOfShape(dtype: DType, shape: readonly number[]): number {
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return rows * bytesOf(dtype, shape.at(-1) ?? 1);
}

export function isQuantized(dtype: DType): boolean {
  return isQuantizedFormat(dtype);
}

function isQuantizedFormat(dtype: DType): dtype is keyof typeof quantizedFormats {
  return dtype in quantizedFormats;
}
