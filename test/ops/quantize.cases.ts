import { bytesOf, type DType } from '../../lib/core/dtype.js';
import { decodeQuantized, dynamicMap, nf4Codebook, quantizedValues } from './quantized.js';
import { Matrix, type OpCase, type OpSuite, type TensorSpec, tensor } from './suite.js';

const targets = ['int8', 'nf4', 'nf4_dq'] as const;
const shapes = [
  [0, 64],
  [1, 64],
  [5, 192],
  [3, 9 * 64],
  [37, 512], // more than 256 blocks
  [2, 17472], // wider than a work item
] as const;

function quantizeCase(name: string, from: DType, to: DType, shape: readonly number[], x: Partial<TensorSpec> = {}): OpCase {
  return { name: `${name} [${shape}] ${from} to ${to}`, args: { x: tensor(from, shape, x), y: tensor(to, shape, { keepType: true }) } };
}

/** Blocks of zeros, of one value, of one non-zero value, and of values too small to divide by. */
const special = (rows: number): number[] =>
  Array.from({ length: rows * 256 }, (_, i) => [0, -0.75, i % 64 === 3 ? 2 : 0, 1e-39 * (i % 5)][(i >> 6) % 4] as number);

/** Parts of NF4 as bitsandbytes keeps them. */
function parts(shape: readonly [number, number], nested: boolean): Record<string, TensorSpec | number> {
  const blocks = (shape[0] * shape[1]) / 64;
  const bytes = (count: number, step: number) => ({ values: Uint8Array.from({ length: count }, (_, i) => (i * step + (i >> 5)) % 256) });
  const positive = { values: Array.from({ length: Math.max(blocks, 1) }, (_, i) => Math.fround(0.5 + ((i * 37) % 11) / 7)) };
  return {
    codes: tensor('u8', [blocks * 32], bytes(blocks * 32, 73)),
    absmax: nested
      ? tensor('u8', [blocks], bytes(blocks, 59))
      : tensor('f32', [blocks], { values: positive.values.slice(0, blocks), keepType: true }),
    map: tensor('f32', [16], { values: nf4Codebook, keepType: true }),
    ...(nested && {
      nestedMap: tensor('f32', [256], { values: dynamicMap, keepType: true }),
      nested: tensor('f32', [Math.ceil(blocks / 256)], { values: positive.values.slice(0, Math.ceil(blocks / 256)), keepType: true }),
    }),
    y: tensor(nested ? 'nf4_dq' : 'nf4', shape, { keepType: true }),
    offset: nested ? 1.25 : 0,
  };
}

export const suites: OpSuite[] = [
  {
    op: 'quantize',
    cases: targets.flatMap((to) => [
      ...shapes.flatMap((shape) => [
        quantizeCase('normal', 'f32', to, shape, { rowPad: 5 }),
        quantizeCase('small', 'bf16', to, shape, { scale: 0.02 }),
      ]),
      quantizeCase('special blocks', 'f32', to, [3, 256], { values: special(3) }),
      quantizeCase('f16', 'f16', to, [7, 128]),
    ]),
    bench: targets.map((to) => quantizeCase('SmolLM2', 'bf16', to, [1536, 576])),
    naive({ x }, _numbers, _f, types) {
      const X = x as Matrix;
      return { y: new Matrix(X.rows, X.cols, quantizedValues(types.y?.dtype as DType, X.data, X.cols)) };
    },
  },
  {
    op: 'pack_nf4',
    cases: shapes.flatMap((shape) =>
      [false, true].map((nested) => ({ name: `[${shape}] ${nested ? 'nf4_dq' : 'nf4'}`, args: parts(shape, nested) })),
    ),
    naive({ codes, absmax, nested }, { offset = 0 }, _f, types) {
      const { dtype, rows, cols } = types.y as { dtype: DType; rows: number; cols: number };
      const [blocks, all] = [cols / 64, (rows * cols) / 64];
      const rowBytes = bytesOf(dtype, cols);
      const bytes = new Uint8Array(rows * rowBytes);
      for (let i = 0; i < all; i++) {
        const view = new DataView(bytes.buffer, Math.floor(i / blocks) * rowBytes, rowBytes);
        const header = nested ? rowBytes - 33 * blocks : 0;
        const at = header + (i % blocks) * (nested ? 33 : 36);
        if (nested) {
          const first = i - (i % blocks);
          view.setFloat32(0, offset, true);
          view.setUint16(4, first % 256, true);
          view.setUint16(6, header, true);
          view.setFloat32(8 + 4 * (Math.floor(i / 256) - Math.floor(first / 256)), nested.get(Math.floor(i / 256)), true);
          view.setUint8(at, (absmax as Matrix).get(i));
        } else view.setFloat32(at, (absmax as Matrix).get(i), true);
        for (let k = 0; k < 32; k++) view.setUint8(at + (nested ? 1 : 4) + k, (codes as Matrix).get(32 * i + k));
      }
      return { y: new Matrix(rows, cols, decodeQuantized(dtype, bytes, cols)) };
    },
  },
];
