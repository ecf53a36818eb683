import type { DType } from '../../lib/core/dtype.js';
import { Matrix, type OpCase, type OpSuite, type Round, tensor } from './suite.js';

const kinds = ['silu', 'gelu_tanh', 'gelu'] as const;
const c = Math.sqrt(2 / Math.PI);

/** Complementary error function to double precision: series below 2, continued fraction above. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 60; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 80; n > 0; n--) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / ((x + fraction) * Math.sqrt(Math.PI));
}

/** f(g) and f'(g), each step rounded. */
function activate(kind: number, g: number, f: Round): [number, number] {
  if (kind === 0) {
    const s = f(1 / f(1 + f(Math.exp(-g))));
    return [f(g * s), f(s * f(1 + f(g * f(1 - s))))];
  }
  if (kind === 1) {
    const t = f(Math.tanh(f(f(c) * f(g + f(f(0.044715) * f(g * f(g * g)))))));
    const inner = f(f(c) * f(1 + f(f(3 * 0.044715) * f(g * g))));
    return [f(f(0.5 * g) * f(1 + t)), f(f(0.5 * f(1 + t)) + f(f(f(0.5 * g) * f(1 - f(t * t))) * inner))];
  }
  const cdf = f(0.5 * f(erfc(-g / Math.SQRT2)));
  const density = f(f(Math.exp(f(-0.5 * f(g * g)))) * f(1 / Math.sqrt(2 * Math.PI)));
  return [f(g * cdf), f(cdf + f(g * density))];
}

const map = (like: Matrix, value: (i: number) => number): Matrix =>
  new Matrix(
    like.rows,
    like.cols,
    like.data.map((_, i) => value(i)),
  );

function forward(n: number, width: number, type: DType, kind: number, pad = 0, scale = 2): OpCase {
  return {
    name: `${kinds[kind]} N${n} F${width} ${type} pad ${pad} scale ${scale}`,
    args: {
      gate: tensor(type, [n, width], { rowPad: pad, scale }),
      up: tensor(type, [n, width], { rowPad: pad }),
      y: tensor(type, [n, width]),
      kind,
    },
  };
}

function backward(n: number, width: number, type: DType, kind: number, pad = 0, y = false, scale = 2): OpCase {
  return {
    name: `${kinds[kind]} N${n} F${width} ${type} pad ${pad}${y ? ' with y' : ''} scale ${scale}`,
    args: {
      dy: tensor(type, [n, width]),
      gate: tensor(type, [n, width], { rowPad: pad, scale }),
      up: tensor(type, [n, width], { rowPad: pad }),
      dgate: tensor(type, [n, width], { rowPad: pad }),
      dup: tensor(type, [n, width], { rowPad: pad }),
      ...(y ? { y: tensor(type, [n, width]) } : {}),
      kind,
    },
  };
}

const shared = (kind: number): OpCase => {
  const { args } = backward(6, 37, 'f32', kind, 2, true);
  return {
    name: `${kinds[kind]} in place`,
    args: {
      ...args,
      dgate: tensor('f32', [6, 37], { alias: 'gate' }),
      dup: tensor('f32', [6, 37], { alias: 'up' }),
      y: tensor('f32', [6, 37], { alias: 'dy' }),
    },
  };
};

const all = kinds.map((_, kind) => kind);
const types = ['f32', 'bf16', 'f16'] as const;

export const suites: OpSuite[] = [
  {
    op: 'gated_activation_forward',
    cases: all.flatMap((kind) => [
      forward(0, 5, 'f32', kind),
      forward(1, 1, 'f32', kind),
      forward(9, 67, 'f32', kind, 0, 20),
      ...types.map((type) => forward(5, 131, type, kind, 3)),
    ]),
    bench: [...types.map((type) => forward(1024, 1536, type, 0)), forward(1024, 1536, 'f32', 1), forward(1024, 1536, 'f32', 2)],
    naive({ gate, up }, { kind = 0 }, f) {
      const [G, U] = [gate as Matrix, up as Matrix];
      return { y: map(G, (i) => f(activate(kind, G.get(i), f)[0] * U.get(i))) };
    },
  },
  {
    op: 'gated_activation_backward',
    cases: all.flatMap((kind) => [
      backward(0, 5, 'f32', kind),
      backward(1, 1, 'f32', kind, 0, true),
      backward(9, 67, 'f32', kind, 0, false, 20),
      ...types.map((type) => backward(5, 131, type, kind, 3, true)),
      shared(kind),
    ]),
    bench: [...types.map((type) => backward(1024, 1536, type, 0)), backward(1024, 1536, 'f32', 1), backward(1024, 1536, 'f32', 2)],
    naive({ dy, gate, up }, { kind = 0 }, f) {
      const [D, G, U] = [dy as Matrix, gate as Matrix, up as Matrix];
      const at = G.data.map((g) => activate(kind, g, f)[0]);
      const slope = G.data.map((g) => activate(kind, g, f)[1]);
      return {
        dup: map(G, (i) => f(D.get(i) * (at[i] as number))),
        dgate: map(G, (i) => f(f(D.get(i) * U.get(i)) * (slope[i] as number))),
        y: map(G, (i) => f((at[i] as number) * U.get(i))),
      };
    },
  },
];
