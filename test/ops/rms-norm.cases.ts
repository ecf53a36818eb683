import type { DType } from '../../lib/core/dtype.js';
import { dot } from './linear.cases.js';
import { Matrix, type Numbers, type OpCase, type OpSuite, type Round, tensor } from './suite.js';

const shapes = [
  [0, 8],
  [1, 1],
  [5, 3],
  [9, 65],
  [33, 130],
  [3, 1027],
  [1100, 5],
] as const;

function naiveRstd(x: Matrix, { eps = 1e-5 }: Numbers, f: Round): Matrix {
  const rstd = new Matrix(1, x.rows);
  for (let n = 0; n < x.rows; n++) {
    const mean = f(
      dot(
        x.cols,
        (c) => x.at(n, c),
        (c) => x.at(n, c),
        f,
      ) / x.cols,
    );
    rstd.data[n] = f(1 / f(Math.sqrt(f(mean + f(eps)))));
  }
  return rstd;
}

function forward(
  n: number,
  c: number,
  type: DType,
  options: { weight?: DType; pad?: number; offset?: number; rstd?: boolean } = {},
): OpCase {
  const { weight = type, pad = 0, offset = 0, rstd = true } = options;
  return {
    name: `N${n} C${c} ${type} weight ${weight} pad ${pad} offset ${offset}${rstd ? '' : ' without rstd'}`,
    args: {
      x: tensor(type, [n, c], { rowPad: pad, scale: 3 }),
      weight: tensor(weight, [c]),
      y: tensor(type, [n, c], { rowPad: pad }),
      ...(rstd ? { rstd: tensor('f32', [n]) } : {}),
      eps: 1e-6,
      weightOffset: offset,
    },
  };
}

function backward(
  n: number,
  c: number,
  type: DType,
  options: { pad?: number; offset?: number; residual?: boolean; dweight?: boolean } = {},
): OpCase {
  const { pad = 0, offset = 0, residual = false, dweight = true } = options;
  return {
    name: `N${n} C${c} ${type} pad ${pad} offset ${offset}${residual ? ' residual' : ''}${dweight ? '' : ' frozen'}`,
    args: {
      dy: tensor(type, [n, c], { rowPad: pad }),
      x: tensor(type, [n, c], { scale: 3 }),
      weight: tensor(type, [c]),
      rstd: tensor('f32', [n], { values: ({ x }, numbers) => naiveRstd(x as Matrix, numbers, (v) => v).data }),
      ...(residual ? { dresidual: tensor(type, [n, c], { rowPad: pad }) } : {}),
      dx: tensor(type, [n, c], { rowPad: pad }),
      ...(dweight ? { dweight: tensor('f32', [c]) } : {}),
      weightOffset: offset,
    },
  };
}

const rmsNormForward: OpSuite = {
  op: 'rms_norm_forward',
  cases: [
    ...shapes.flatMap(([n, c]) => [forward(n, c, 'f32'), forward(n, c, 'bf16')]),
    forward(7, 64, 'f16'),
    forward(7, 66, 'bf16', { weight: 'f32', pad: 5, offset: 1 }),
    forward(7, 66, 'f32', { pad: 3, offset: 1, rstd: false }),
  ],
  bench: [forward(1024, 576, 'f32'), forward(1024, 576, 'bf16')],
  naive({ x, weight }, numbers, f) {
    const [X, W] = [x as Matrix, weight as Matrix];
    const rstd = naiveRstd(X, numbers, f);
    const y = new Matrix(X.rows, X.cols);
    for (let n = 0; n < X.rows; n++)
      for (let c = 0; c < X.cols; c++) y.set(n, c, f(f(X.at(n, c) * rstd.get(n)) * f(W.get(c) + (numbers.weightOffset ?? 0))));
    return { y, rstd };
  },
};

const rmsNormBackward: OpSuite = {
  op: 'rms_norm_backward',
  cases: [
    ...shapes.flatMap(([n, c]) => [backward(n, c, 'f32'), backward(n, c, 'bf16', { residual: true })]),
    backward(300, 33, 'f32', { residual: true }),
    backward(7, 66, 'bf16', { pad: 5, offset: 1 }),
    backward(7, 66, 'f32', { pad: 3, offset: 1, residual: true, dweight: false }),
    {
      name: 'dx shares memory with dresidual',
      args: { ...backward(5, 40, 'f32', { residual: true }).args, dx: tensor('f32', [5, 40], { alias: 'dresidual' }) },
    },
    {
      name: 'dx shares memory with dy',
      args: { ...backward(5, 40, 'bf16').args, dx: tensor('bf16', [5, 40], { alias: 'dy' }) },
    },
  ],
  bench: [backward(1024, 576, 'f32', { residual: true }), backward(1024, 576, 'bf16', { residual: true })],
  naive({ dy, x, weight, rstd, dresidual, dweight }, { weightOffset = 0 }, f) {
    const [DY, X, W, S] = [dy as Matrix, x as Matrix, weight as Matrix, rstd as Matrix];
    const dx = new Matrix(X.rows, X.cols);
    const dw = new Matrix(1, X.cols);
    for (let n = 0; n < X.rows; n++) {
      const xhat = (c: number): number => f(X.at(n, c) * S.get(n));
      const g = (c: number): number => f(DY.at(n, c) * f(W.get(c) + weightOffset));
      const mean = f(dot(X.cols, g, xhat, f) / X.cols);
      for (let c = 0; c < X.cols; c++) {
        const d = f(S.get(n) * f(g(c) - f(xhat(c) * mean)));
        dx.set(n, c, dresidual ? f(d + dresidual.at(n, c)) : d);
        dw.data[c] = f(dw.get(c) + f(DY.at(n, c) * xhat(c)));
      }
    }
    if (!dweight) return { dx };
    return {
      dx,
      dweight: new Matrix(
        1,
        X.cols,
        dw.data.map((v, c) => f(v + dweight.get(c))),
      ),
    };
  },
};

export const suites: OpSuite[] = [rmsNormForward, rmsNormBackward];
