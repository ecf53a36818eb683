/** Storage types of tensor elements; the index is the number the native side uses (native/core/dtype.h). */
export const dtypeNames = ['f64', 'f32', 'f16', 'bf16', 'i32', 'u8', 'q8_0', 'q4_0', 'q4_1'] as const;

export type DType = (typeof dtypeNames)[number];

interface DTypeInfo {
  index: number;
  /** Elements that share a block; 1 for plain types. */
  blockElements: number;
  blockBytes: number;
}

/** Block sizes as in GGUF. A test compares this table with the addon's. */
export const dtypes: Record<DType, DTypeInfo> = {
  f64: { index: 0, blockElements: 1, blockBytes: 8 },
  f32: { index: 1, blockElements: 1, blockBytes: 4 },
  f16: { index: 2, blockElements: 1, blockBytes: 2 },
  bf16: { index: 3, blockElements: 1, blockBytes: 2 },
  i32: { index: 4, blockElements: 1, blockBytes: 4 },
  u8: { index: 5, blockElements: 1, blockBytes: 1 },
  q8_0: { index: 6, blockElements: 32, blockBytes: 34 },
  q4_0: { index: 7, blockElements: 32, blockBytes: 18 },
  q4_1: { index: 8, blockElements: 32, blockBytes: 20 },
};

/** Float types that activations, gradients and trained weights can have. */
export type FloatType = 'f64' | 'f32' | 'f16' | 'bf16';

/** Bytes of `elements` elements. Quantized rows must be whole blocks; the native side checks that. */
export function bytesOf(dtype: DType, elements: number): number {
  const { blockElements, blockBytes } = dtypes[dtype];
  return Math.ceil(elements / blockElements) * blockBytes;
}

export function isQuantized(dtype: DType): boolean {
  return dtypes[dtype].blockElements > 1;
}
