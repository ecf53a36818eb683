import type { Matrix, OpSuite } from './suite.js';
import { tensor, Matrix as Values } from './suite.js';

export const suites: OpSuite[] = [
  {
    op: 'row_squares',
    cases: (['f32', 'bf16', 'f16'] as const).flatMap((type) =>
      [
        [0, 7],
        [1, 1],
        [5, 515],
        [67, 33],
      ].map((shape, i) => ({
        name: `[${shape}] ${type}`,
        args: { x: tensor(type, shape, { rowPad: i }), out: tensor('f32', [shape[0] as number]) },
      })),
    ),
    naive({ x }) {
      const X = x as Matrix;
      const sums = Float64Array.from({ length: X.rows }, (_, m) => {
        let sum = 0;
        for (let k = 0; k < X.cols; k++) sum += X.at(m, k) ** 2;
        return sum;
      });
      return { out: new Values(1, X.rows, sums) };
    },
  },
  {
    op: 'dora_factors',
    cases: [
      [1, 1],
      [7, 3],
      [129, 16],
      [600, 33],
    ].map(([m, r]) => ({
      name: `M${m} R${r}`,
      args: {
        magnitude: tensor('f32', [m as number]),
        // A row without length has no direction: 0 of both.
        squares: tensor('f32', [m as number], { values: Array.from({ length: m as number }, (_, i) => (i === 2 ? -1e6 : 3000 + i)) }),
        wa: tensor('f32', [r as number, m as number]),
        b: tensor('f32', [m as number, r as number]),
        aa: tensor('f32', [r as number, r as number]),
        factors: tensor('f32', [m as number]),
        inverseNorms: tensor('f32', [m as number]),
        scale: 1.7,
      },
    })),
    naive({ magnitude, squares, wa, b, aa }, { scale: s = 1 }) {
      const [B, AA, WA] = [b as Matrix, aa as Matrix, wa as Matrix];
      const inverse = Float64Array.from({ length: B.rows }, (_, m) => {
        let square = (squares as Matrix).get(m);
        for (let r = 0; r < B.cols; r++) {
          square += 2 * s * B.at(m, r) * WA.at(r, m);
          for (let q = 0; q < B.cols; q++) square += s * s * B.at(m, r) * AA.at(r, q) * B.at(m, q);
        }
        return square > 0 ? 1 / Math.sqrt(square) : 0;
      });
      return {
        factors: new Values(
          1,
          B.rows,
          inverse.map((x, m) => x * (magnitude as Matrix).get(m)),
        ),
        inverseNorms: new Values(1, B.rows, inverse),
      };
    },
  },
];
