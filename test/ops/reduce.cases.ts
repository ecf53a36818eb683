import type { Matrix, OpSuite } from './suite.js';
import { tensor, Matrix as Values } from './suite.js';

export const suites: OpSuite[] = [
  {
    op: 'sum_of_squares',
    cases: (['f32', 'bf16', 'f16'] as const).flatMap((type) =>
      [[0], [1], [4095], [4097], [3, 4099]].map((shape) => ({
        name: `[${shape}] ${type}`,
        args: { x: tensor(type, shape), out: tensor('f64', [1], { values: [2] }) },
      })),
    ),
    bench: [{ name: '[1536, 576] f32', args: { x: tensor('f32', [1536, 576]), out: tensor('f64', [1]) } }],
    // The op sums in f64 on every device.
    naive({ x, out }) {
      const sum = (x as Matrix).data.reduce((a, v) => a + v * v, 0);
      return { out: new Values(1, 1, Float64Array.of((out as Matrix).get(0) + sum)) };
    },
  },
];
