import type { DType } from '../../lib/core/dtype.js';
import { map, norm, product, transposed } from './matrices.js';
import { roundStochastic } from './naive-update.js';
import { counterBits16 } from './random.js';
import { roundTo } from './storage.js';
import { type Matrix, type Numbers, type OpCase, type OpSuite, tensor } from './suite.js';

interface Options {
  weight?: DType;
  momentum?: DType | undefined;
}

function update(rows: number, cols: number, numbers: Numbers, name: string, options: Options = {}): OpCase {
  const { weight = 'f32', momentum = 'f32' } = options;
  return {
    name: `${name} [${rows}, ${cols}] ${weight}`,
    args: {
      weight: tensor(weight, [rows, cols], { scale: 0.05, keepType: 'stochasticRounding' in numbers }),
      grad: tensor('f32', [rows, cols], { scale: 0.1 }),
      ...('beta' in numbers && { state0: tensor(momentum, [rows, cols], { scale: 0.1 }) }),
      ...numbers,
    },
  };
}

const plain = { learningRate: 0.01, scale: 2 };
const later = { learningRate: 0.01, weightDecay: 0.1, gradScale: 0.5, beta: 0.9, scale: 2 };
const rounding = { stochasticRounding: 1, seed: 9007199254740881 };
const [a, b, c] = [3.4445, -4.775, 2.0315];

export const suites: OpSuite[] = [
  {
    op: 'muon_update',
    cases: [
      update(0, 5, later, 'empty'),
      update(1, 1, plain, 'without momentum'),
      update(7, 33, plain, 'without momentum'),
      update(40, 23, later, 'nesterov'),
      update(19, 70, { ...later, nesterov: 0, iterations: 2 }, 'momentum'),
      update(19, 70, { ...later, ...rounding }, 'nesterov', { weight: 'bf16', momentum: 'bf16' }),
      update(33, 31, later, 'nesterov', { weight: 'f16' }),
      update(40, 72, { ...later, inBf16: 1 }, 'in bf16'),
      update(65, 40, { ...later, inBf16: 1 }, 'in bf16'),
    ],
    bench: [update(1536, 576, later, 'nesterov'), update(1536, 576, { ...later, inBf16: 1 }, 'in bf16', { weight: 'bf16' })],
    naive({ weight, grad, state0 }, n, f, types) {
      const [w, g] = [weight as Matrix, map(grad as Matrix, (x) => f(f(n.gradScale ?? 1) * x))];
      const beta = f(n.beta ?? 0);
      // In float64 nothing is rounded.
      const stored = n.inBf16 && f(0.1) !== 0.1 ? (x: number) => roundTo('bf16', x) : f;
      const m = state0 && map(state0, (x, i) => f(x + f(f(1 - beta) * f(g.get(i) - x))));
      const u = !m ? g : n.nesterov === 0 ? m : map(g, (x, i) => f(x + f(beta * f(m.get(i) - x))));
      const size = f(norm(u.data, f) + f(n.eps ?? 1e-7));
      let x = map(u, (v) => stored(f(stored(v) / size)));
      const tall = x.rows > x.cols;
      if (tall) x = transposed(x);
      for (let k = 0; k < (n.iterations ?? 5); k++) {
        const before = x;
        const gram = map(product(x, transposed(x), f), stored);
        const square = product(gram, gram, f);
        const polynomial = map(gram, (v, i) => stored(f(f(b * v) + f(c * square.get(i)))));
        const rest = product(polynomial, before, f);
        x = map(before, (v, i) => stored(f(f(a * v) + rest.get(i))));
      }
      if (tall) x = transposed(x);
      const decay = f(1 - f((n.learningRate ?? 0) * (n.weightDecay ?? 0)));
      const step = f(f(n.learningRate ?? 0) * f(n.scale ?? 1));
      const updated = map(w, (v, i) => {
        const value = f(f(v * decay) - f(step * x.get(i)));
        const type = types.weight?.dtype ?? 'f32';
        return n.stochasticRounding ? roundStochastic(type, value, counterBits16(n.seed ?? 0, i)) : value;
      });
      return { weight: updated, ...(m ? { state0: m } : {}) };
    },
  },
];
