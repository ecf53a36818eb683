import type { Matrix, OpSuite } from './suite.js';
import { tensor, Matrix as Values } from './suite.js';

const shapes = [
  [0, 7],
  [1, 1],
  [37, 65],
  [301, 33],
] as const;
const floats = ['f32', 'bf16', 'f16'] as const;

export const suites: OpSuite[] = [
  {
    op: 'scale_columns',
    cases: [
      ...floats.flatMap((type) =>
        shapes.map((s, i) => ({
          name: `[${s}] ${type}`,
          args: { x: tensor(type, s, { rowPad: i }), factors: tensor('f32', [s[1]]), y: tensor(type, s, { rowPad: i }) },
        })),
      ),
      {
        name: 'bias and residual, in place',
        args: {
          x: tensor('bf16', [9, 67]),
          factors: tensor('f32', [67]),
          bias: tensor('bf16', [67]),
          residual: tensor('bf16', [9, 67]),
          y: tensor('bf16', [9, 67], { alias: 'x' }),
        },
      },
      {
        name: 'onto the residual, types mixed',
        args: {
          x: tensor('f32', [9, 67]),
          factors: tensor('f32', [67]),
          residual: tensor('bf16', [9, 67]),
          y: tensor('bf16', [9, 67], { alias: 'residual' }),
        },
      },
    ],
    bench: [
      { name: '[1024, 576] f32', args: { x: tensor('f32', [1024, 576]), factors: tensor('f32', [576]), y: tensor('f32', [1024, 576]) } },
    ],
    naive({ x, factors, bias, residual }, _numbers, f) {
      const X = x as Matrix;
      const y = new Values(X.rows, X.cols);
      for (let n = 0; n < X.rows; n++)
        for (let m = 0; m < X.cols; m++) {
          const scaled = f(X.at(n, m) * (factors as Matrix).get(m));
          const shifted = bias ? f(scaled + bias.get(m)) : scaled;
          y.set(n, m, residual ? f(shifted + residual.at(n, m)) : shifted);
        }
      return { y };
    },
  },
  {
    op: 'column_dot',
    cases: floats.flatMap((type) =>
      shapes.flatMap((s, i) =>
        [true, false].map((scaled) => ({
          name: `[${s}] ${type}${scaled ? ' with factors' : ''}`,
          args: {
            a: tensor(type, s, { rowPad: i }),
            b: tensor(type === 'f16' ? 'f32' : type, s),
            ...(scaled && { factors: tensor('f32', [s[1]]) }),
            out: tensor('f32', [s[1]]),
          },
        })),
      ),
    ),
    bench: [{ name: '[1024, 576] f32', args: { a: tensor('f32', [1024, 576]), b: tensor('f32', [1024, 576]), out: tensor('f32', [576]) } }],
    naive({ a, b, factors, out }, _numbers, f) {
      const [A, B, before] = [a as Matrix, b as Matrix, out as Matrix];
      const sums = new Values(before.rows, before.cols);
      for (let m = 0; m < A.cols; m++) {
        let sum = 0;
        for (let n = 0; n < A.rows; n++) sum = f(sum + f(A.at(n, m) * B.at(n, m)));
        sums.data[m] = f(before.get(m) + (factors ? f(factors.get(m) * sum) : sum));
      }
      return { out: sums };
    },
  },
];
