import { counterNormal } from './random.js';
import { Matrix, type OpSuite, tensor } from './suite.js';

const seed = 9007199254740881;

export const suites: OpSuite[] = [
  {
    op: 'perturb',
    cases: [[0, 5], [1], [333], [37, 129], [3, 17000]].flatMap((shape) => [
      { name: `there [${shape}]`, args: { weight: tensor('f32', shape, { scale: 0.05 }), shift: 1e-3, seed } },
      { name: `back and a step [${shape}]`, args: { weight: tensor('f32', shape), shift: -0.01, decay: 0.99, step: 0.3, seed: 7 } },
    ]),
    bench: [{ name: '[1536, 576]', args: { weight: tensor('f32', [1536, 576]), shift: 1e-3, decay: 0.99, step: 1e-3, seed } }],
    naive({ weight }, { shift = 0, decay = 1, step = 0, seed = 0 }, f) {
      const w = weight as Matrix;
      const z = w.data.map((_, i) => f(counterNormal(seed, i)));
      const moved = w.data.map((x, i) => f(f(f(x + f(f(shift) * (z[i] as number))) * f(decay)) + f(f(step) * (z[i] as number))));
      return { weight: new Matrix(w.rows, w.cols, moved) };
    },
  },
];
