import type { DType } from '../../lib/core/dtype.js';
import { Matrix, type OpCase, type OpSuite, type Round, tensor } from './suite.js';

function differenceCase(n: number, v: number, type: DType, scale: number, pad = 0): OpCase {
  return {
    name: `[${n}, ${v}] ${type} scale ${scale}`,
    args: {
      p: tensor(type, [n, v], { scale, rowPad: pad }),
      q: tensor(type, [n, v], { scale, rowPad: pad }),
      out: tensor('f64', [2], { values: [0.5, 0.01] }),
    },
  };
}

function logProbabilities(x: Matrix, row: number, f: Round): number[] {
  const values = Array.from({ length: x.cols }, (_, i) => x.at(row, i));
  const largest = Math.max(...values);
  const sum = values.reduce((total, value) => f(total + f(Math.exp(f(value - largest)))), 0);
  const normaliser = f(Math.log(sum));
  return values.map((value) => f(f(value - largest) - normaliser));
}

export const suites: OpSuite[] = [
  {
    op: 'logit_difference',
    precision: { out: 'f32' },
    cases: [
      differenceCase(0, 5, 'f32', 1),
      differenceCase(1, 1, 'f32', 1),
      differenceCase(3, 7, 'f32', 2, 3),
      differenceCase(5, 1100, 'f32', 5),
      differenceCase(9, 67, 'bf16', 3, 1),
      differenceCase(2, 130, 'f16', 30),
    ],
    bench: [differenceCase(64, 49152, 'f32', 2)],
    naive({ p, q, out }, _numbers, f) {
      const [P, Q] = [p as Matrix, q as Matrix];
      let [divergence, largest] = (out as Matrix).data as unknown as [number, number];
      for (let n = 0; n < P.rows; n++) {
        const [a, b] = [logProbabilities(P, n, f), logProbabilities(Q, n, f)];
        a.forEach((x, i) => {
          divergence = f(divergence + f(f(Math.exp(x)) * f(x - (b[i] as number))));
          largest = Math.max(largest, Math.abs(f(P.at(n, i) - Q.at(n, i))));
        });
      }
      return { out: new Matrix(1, 2, Float64Array.of(divergence, largest)) };
    },
  },
];
