import type { DType } from '../../lib/core/dtype.js';
import { naiveUpdate, updateVariants } from './naive-update.js';
import { weightTypes, wholeBlocks } from './quantized.js';
import { Matrix, type OpCase, type OpSuite, type Round, type TensorSpec, tensor } from './suite.js';

/** Ids with repeats, the first and the last row among them. */
const ids = (n: number, v: number): TensorSpec =>
  tensor('i32', [n], { values: Array.from({ length: n }, (_, i) => (i === 0 ? v - 1 : (i * i * 7) % v)) });

/** before[ids[n]] += scale * dy[n] */
export function naiveEmbeddingGradient(before: Matrix, rows: Matrix, dy: Matrix, scale: number, f: Round): Matrix {
  const out = new Matrix(before.rows, before.cols, before.data.slice());
  for (let n = 0; n < dy.rows; n++)
    for (let c = 0; c < dy.cols; c++) out.set(rows.get(n), c, f(out.at(rows.get(n), c) + f(f(scale) * dy.at(n, c))));
  return out;
}

function forward(n: number, v: number, c: number, weight: DType, type: DType, scale = 1, pad = 0): OpCase {
  return {
    name: `N${n} V${v} C${c} ${weight} to ${type} scale ${scale} pad ${pad}`,
    args: { ids: ids(n, v), weight: tensor(weight, [v, c]), y: tensor(type, [n, c], { rowPad: pad }), scale },
  };
}

function backward(n: number, v: number, c: number, type: DType, scale = 1, pad = 0): OpCase {
  return {
    name: `N${n} V${v} C${c} ${type} scale ${scale} pad ${pad}`,
    args: { ids: ids(n, v), dy: tensor(type, [n, c], { rowPad: pad }), dweight: tensor('f32', [v, c]), scale },
  };
}

function update(n: number, v: number, c: number, type: DType, weight: DType, state: DType): OpCase[] {
  return updateVariants([v, c], weight, state).map(([name, rule]) => ({
    name: `${name} N${n} V${v} C${c} ${type} ${weight} state ${state}`,
    args: {
      ids: ids(n, v),
      dy: tensor(type, [n, c], { rowPad: 1 }),
      weight: tensor(weight, [v, c], { keepType: 'stochasticRounding' in rule }),
      scale: 1.5,
      ...rule,
    },
  }));
}

export const suites: OpSuite[] = [
  {
    op: 'embedding_forward',
    cases: [
      forward(0, 5, 8, 'f32', 'f32'),
      forward(1, 1, 1, 'f32', 'f32'),
      ...weightTypes.flatMap((w) => [
        forward(19, 11, wholeBlocks(w, 96), w, 'f32'),
        forward(19, 11, wholeBlocks(w, 96), w, 'bf16', Math.sqrt(96), 5),
      ]),
      forward(300, 40, 67, 'bf16', 'f16'),
    ],
    bench: [forward(1024, 49152, 576, 'bf16', 'f32'), forward(1024, 49152, 576, 'q4_1', 'f32')],
    naive({ ids, weight }, { scale = 1 }, f) {
      const [I, W] = [ids as Matrix, weight as Matrix];
      const y = new Matrix(I.data.length, W.cols);
      for (let n = 0; n < y.rows; n++) for (let c = 0; c < y.cols; c++) y.set(n, c, f(f(scale) * W.at(I.get(n), c)));
      return { y };
    },
  },
  {
    op: 'embedding_backward',
    cases: [
      backward(0, 5, 8, 'f32'),
      backward(1, 1, 1, 'f32'),
      backward(37, 11, 67, 'f32'),
      backward(37, 11, 67, 'bf16', 8, 3),
      backward(300, 500, 33, 'f32', 0.5),
    ],
    bench: [backward(1024, 49152, 576, 'f32')],
    naive({ ids, dy, dweight }, { scale = 1 }, f) {
      return { dweight: naiveEmbeddingGradient(dweight as Matrix, ids as Matrix, dy as Matrix, scale, f) };
    },
  },
  {
    op: 'embedding_update',
    cases: [
      ...update(0, 5, 8, 'f32', 'f32', 'f32'),
      ...update(37, 11, 67, 'f32', 'f32', 'f32'),
      ...update(37, 130, 33, 'bf16', 'bf16', 'f32'),
      ...update(21, 16, 40, 'bf16', 'bf16', 'bf16'),
      ...update(50, 900, 401, 'f32', 'f32', 'f32').slice(0, 1), // several strips of rows
      ...update(37, 33, 67, 'f32', 'f32', 'u8'),
      ...update(50, 900, 401, 'f32', 'f32', 'u8').slice(1), // strips of whole blocks
    ],
    bench: update(1024, 49152, 576, 'bf16', 'bf16', 'f32'),
    naive(inputs, numbers, f, types) {
      const W = inputs.weight as Matrix;
      const zeros = new Matrix(W.rows, W.cols);
      const grad = naiveEmbeddingGradient(zeros, inputs.ids as Matrix, inputs.dy as Matrix, numbers.scale ?? 1, f);
      return naiveUpdate(inputs, grad, numbers, types, f);
    },
  },
];
