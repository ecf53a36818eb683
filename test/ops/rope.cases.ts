import type { DType } from '../../lib/core/dtype.js';
import { Matrix, type OpCase, type OpSuite, tensor } from './suite.js';

const inverseFrequencies = (r: number, theta = 10000): number[] => Array.from({ length: r }, (_, i) => theta ** (-i / r));

function table(n: number, r: number, options: { from?: number; type?: DType; scale?: number; out?: DType } = {}): OpCase {
  const { from = 0, type = 'f32', scale = 1, out = 'f32' } = options;
  return {
    name: `N${n} R${r} positions from ${from} inv_freq ${type} scale ${scale} to ${out}`,
    args: {
      positions: tensor('i32', [n], { values: Array.from({ length: n }, (_, i) => from + i * 3) }),
      invFreq: tensor(type, [r], { values: inverseFrequencies(r), keepType: true }),
      cos: tensor(out, [n, r]),
      sin: tensor(out, [n, r]),
      scale,
    },
  };
}

function rope(n: number, heads: number, d: number, r: number, type: DType, options: { pad?: number; inverse?: number } = {}): OpCase {
  const angles = (trig: (x: number) => number): number[] =>
    Array.from({ length: n * r }, (_, i) => trig((Math.floor(i / r) * 2 + 1) * (inverseFrequencies(r)[i % r] as number)));
  const { pad = 0, inverse = 0 } = options;
  return {
    name: `N${n} ${heads} heads of ${d}, R${r}, ${type} pad ${pad}${inverse ? ' inverse' : ''}`,
    args: {
      x: tensor(type, [n, heads * d], { rowPad: pad }),
      cos: tensor('f32', [n, r], { values: angles(Math.cos) }),
      sin: tensor('f32', [n, r], { values: angles(Math.sin) }),
      heads,
      inverse,
    },
  };
}

export const suites: OpSuite[] = [
  {
    op: 'rope_table',
    cases: [
      table(0, 4),
      table(1, 1),
      table(9, 33),
      table(9, 32, { from: 131072 }),
      table(9, 32, { from: 131072, type: 'f64' }),
      table(5, 8, { from: 1000, scale: 1.25 }),
    ],
    naive({ positions, invFreq }, { scale = 1 }, f, types) {
      const [P, F] = [positions as Matrix, invFreq as Matrix];
      const cos = new Matrix(P.data.length, F.data.length);
      const sin = new Matrix(P.data.length, F.data.length);
      for (let n = 0; n < cos.rows; n++)
        for (let i = 0; i < cos.cols; i++) {
          const product = P.get(n) * F.get(i);
          const angle = types.invFreq?.dtype === 'f32' ? Math.fround(product) : product;
          cos.set(n, i, f(f(scale) * f(Math.cos(angle))));
          sin.set(n, i, f(f(scale) * f(Math.sin(angle))));
        }
      return { cos, sin };
    },
  },
  {
    op: 'rope_inplace',
    cases: [
      rope(0, 2, 8, 4, 'f32'),
      rope(1, 1, 2, 1, 'f32'),
      ...(['f32', 'bf16', 'f16'] as const).flatMap((type) => [
        rope(7, 3, 66, 33, type),
        rope(7, 3, 64, 32, type, { inverse: 1, pad: 5 }),
        rope(5, 2, 40, 7, type, { pad: 3 }),
      ]),
    ],
    bench: [rope(1024, 9, 64, 32, 'f32'), rope(1024, 9, 64, 32, 'bf16')],
    naive({ x, cos, sin }, { heads = 1, inverse = 0 }, f) {
      const [X, C, S] = [x as Matrix, cos as Matrix, sin as Matrix];
      const out = new Matrix(X.rows, X.cols, X.data.slice());
      const d = X.cols / heads;
      for (let n = 0; n < X.rows; n++)
        for (let h = 0; h < heads; h++)
          for (let i = 0; i < C.cols; i++) {
            const [a, b] = [h * d + i, h * d + i + C.cols];
            const [c, s] = [C.at(n, i), inverse ? -S.at(n, i) : S.at(n, i)];
            out.set(n, a, f(f(X.at(n, a) * c) - f(X.at(n, b) * s)));
            out.set(n, b, f(f(X.at(n, b) * c) + f(X.at(n, a) * s)));
          }
      return { x: out };
    },
  },
];
