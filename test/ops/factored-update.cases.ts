import type { DType } from '../../lib/core/dtype.js';
import { roundStochastic } from './naive-update.js';
import { counterBits16 } from './random.js';
import { Matrix, type OpCase, type OpSuite, tensor } from './suite.js';

type Numbers = Record<string, number>;

function update(rows: number, cols: number, weight: DType, numbers: Numbers, name: string): OpCase {
  const positive = (n: number) => Float64Array.from({ length: n }, (_, i) => 0.01 * (1 + Math.sin(i) ** 2));
  return {
    name: `${name} [${rows}, ${cols}] ${weight}`,
    args: {
      weight: tensor(weight, [rows, cols], { scale: 0.05, keepType: 'stochasticRounding' in numbers }),
      grad: tensor('f32', [rows, cols], { scale: 0.1 }),
      row: tensor('f32', [rows], { values: positive(rows) }),
      col: tensor('f32', [cols], { values: positive(cols) }),
      ...numbers,
    },
  };
}

function vector(n: number, weight: DType, numbers: Numbers): OpCase {
  const { row: _row, ...args } = update(1, n, weight, numbers, 'vector').args;
  return { name: `vector [${n}] ${weight}`, args };
}

const first = { learningRate: 0.01, beta2: 0 };
const later = { learningRate: 0.01, weightDecay: 0.1, gradScale: 0.5, beta2: 0.9, clipThreshold: 0.5 };
const rounding = { stochasticRounding: 1, seed: 9007199254740881 };

export const suites: OpSuite[] = [
  {
    op: 'factored_update',
    cases: [
      update(0, 5, 'f32', first, 'first step'),
      update(1, 1, 'f32', later, 'later step'),
      update(37, 129, 'f32', first, 'first step'),
      update(37, 129, 'f32', later, 'later step'),
      update(131, 65, 'bf16', { ...later, ...rounding }, 'later step'),
      update(70, 531, 'f16', { ...later, scaleParameter: 0 }, 'unscaled'),
      update(3, 17000, 'f32', later, 'wide'),
      vector(333, 'f32', later),
      vector(700, 'bf16', { ...later, ...rounding }),
    ],
    bench: [update(1536, 576, 'f32', later, 'later step'), update(1536, 576, 'bf16', { ...later, ...rounding }, 'later step')],
    naive({ weight, grad, row, col }, n, f, types) {
      const [W, G, C] = [weight as Matrix, grad as Matrix, col as Matrix];
      const copy = (m: Matrix) => new Matrix(m.rows, m.cols, m.data.slice());
      const [w, c, r] = [copy(W), copy(C), row && copy(row)];
      const { learningRate = 0, weightDecay = 0, gradScale = 1, beta2 = 0, eps1 = 1e-30, eps2 = 1e-3, clipThreshold = 1 } = n;
      const g = new Matrix(
        G.rows,
        G.cols,
        G.data.map((x) => f(f(gradScale) * x)),
      );
      const square = (i: number, j: number) => f(f(g.at(i, j) * g.at(i, j)) + f(eps1));
      const mean = (count: number, at: (i: number) => number) => {
        let sum = 0;
        for (let i = 0; i < count; i++) sum = f(sum + at(i));
        return f(sum / count);
      };
      const decayed = (old: number, x: number) => f(f(f(beta2) * old) + f(f(1 - beta2) * x));
      if (g.data.length > 0) {
        for (let i = 0; r && i < g.rows; i++)
          r.data[i] = decayed(
            r.get(i),
            mean(g.cols, (j) => square(i, j)),
          );
        for (let j = 0; j < g.cols; j++)
          c.data[j] = decayed(
            c.get(j),
            mean(g.rows, (i) => square(i, j)),
          );
      }
      const rowMean = r ? mean(g.rows, (i) => r.get(i)) : 1;
      const u = new Matrix(g.rows, g.cols);
      for (let i = 0; i < g.rows; i++)
        for (let j = 0; j < g.cols; j++) {
          const share = r ? f(r.get(i) / rowMean) : 1;
          u.set(i, j, f(g.at(i, j) / f(Math.sqrt(f(share * c.get(j))))));
        }
      const rms = (m: Matrix) => f(Math.sqrt(mean(m.data.length, (i) => f(m.get(i) * m.get(i)))));
      const rate = f(f(learningRate) * (n.scaleParameter === 0 ? 1 : Math.max(f(eps2), rms(W))));
      const step = f(rate / Math.max(1, f(rms(u) / f(clipThreshold))));
      const decay = f(1 - f(rate * f(weightDecay)));
      for (let i = 0; i < w.data.length; i++) {
        const value = f(f(W.get(i) * decay) - f(step * u.get(i)));
        w.data[i] =
          n.stochasticRounding && types.weight ? roundStochastic(types.weight.dtype, value, counterBits16(n.seed ?? 0, i)) : value;
      }
      return { weight: w, col: c, ...(r ? { row: r } : {}) };
    },
  },
];
