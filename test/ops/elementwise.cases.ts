import type { DType } from '../../lib/core/dtype.js';
import { quantizedTypes, wholeBlocks } from './quantized.js';
import { counterNormal, counterUniform } from './random.js';
import { Matrix, type OpCase, type OpSuite, type TensorSpec, type Types, tensor } from './suite.js';

const shapes = [
  [0, 7],
  [1, 1],
  [5, 3],
  [9, 67],
  [2, 4099],
] as const;
const floats = ['f32', 'bf16', 'f16'] as const;

const map = (like: Matrix, value: (i: number) => number): Matrix =>
  new Matrix(
    like.rows,
    like.cols,
    like.data.map((_, i) => value(i)),
  );
const output = (types: Types, name: string): Matrix => new Matrix(types[name]?.rows ?? 0, types[name]?.cols ?? 0);

/** A case for every shape and type; rows of the odd shapes lie apart. */
function grid(build: (shape: readonly number[], type: DType, pad: number) => Record<string, TensorSpec | number>): OpCase[] {
  return floats.flatMap((type) => shapes.map((shape, i) => ({ name: `[${shape}] ${type} pad ${i}`, args: build(shape, type, i) })));
}

const big = [1024, 576];
const bench = (args: Record<string, TensorSpec | number>): OpCase[] => [{ name: `[${big}] f32`, args }];

/** Row numbers without repeats, in a mixed order. */
const rowNumbers = (n: number, rows: number): TensorSpec =>
  tensor('i32', [n], { values: Array.from({ length: n }, (_, i) => rows - 1 - i * Math.floor(rows / Math.max(1, n))) });

const rowTypes = ['f32', 'bf16', 'i32', 'q8_0', 'q4_0', 'q4_1'] as const;

export const suites: OpSuite[] = [
  {
    op: 'add',
    cases: [
      ...grid((s, t, pad) => ({ a: tensor(t, s, { rowPad: pad }), b: tensor('f32', s), y: tensor(t, s, { rowPad: pad }) })),
      { name: 'in place', args: { a: tensor('f32', [5, 33]), b: tensor('bf16', [5, 33]), y: tensor('f32', [5, 33], { alias: 'a' }) } },
    ],
    bench: bench({ a: tensor('f32', big), b: tensor('f32', big), y: tensor('f32', big) }),
    naive: ({ a, b }, _numbers, f) => ({ y: map(a as Matrix, (i) => f((a as Matrix).get(i) + (b as Matrix).get(i))) }),
  },
  {
    op: 'cast',
    cases: floats.flatMap((to) => [
      ...floats.flatMap((from) =>
        shapes.map((s, i) => ({
          name: `[${s}] ${from} to ${to}`,
          args: { x: tensor(from, s, { rowPad: i }), y: tensor(to, s, { rowPad: i }) },
        })),
      ),
      ...quantizedTypes.flatMap((from) =>
        [0, 1, 5].map((n) => {
          const cols = wholeBlocks(from, 96);
          return {
            name: `[${n}, ${cols}] ${from} to ${to}`,
            args: { x: tensor(from, [n, cols], { rowPad: wholeBlocks(from, 1) }), y: tensor(to, [n, cols]) },
          };
        }),
      ),
    ]),
    bench: (['bf16', 'q8_0', 'q4_0', 'q4_1'] as const).map((t) => ({
      name: `[${big}] ${t} to f32`,
      args: { x: tensor(t, big), y: tensor('f32', big) },
    })),
    naive: ({ x }) => ({ y: x as Matrix }),
  },
  {
    op: 'fill',
    cases: grid((s, t, pad) => ({ y: tensor(t, s, { rowPad: pad }), value: -0.7 })),
    naive: (_inputs, { value = 0 }, f, types) => ({ y: map(output(types, 'y'), () => f(value)) }),
  },
  {
    op: 'scale',
    cases: [
      ...grid((s, t, pad) => ({ x: tensor(t, s, { rowPad: pad }), y: tensor(t, s), scale: 0.3 })),
      { name: 'in place', args: { x: tensor('bf16', [5, 33]), y: tensor('bf16', [5, 33], { alias: 'x' }), scale: -3 } },
    ],
    naive: ({ x }, { scale = 1 }, f) => ({ y: map(x as Matrix, (i) => f(f(scale) * (x as Matrix).get(i))) }),
  },
  {
    op: 'dropout',
    cases: [
      ...grid((s, t, pad) => ({ x: tensor(t, s, { rowPad: pad }), y: tensor(t, s, { rowPad: pad }), p: 0.3, seed: 77 })),
      ...grid((s, t, pad) => ({
        x: tensor(t, s),
        residual: tensor(t, s, { rowPad: pad }),
        y: tensor(t, s, { rowPad: pad, alias: 'residual' }),
        p: 0.5,
        seed: 9007199254740991,
      })),
      { name: 'p 0', args: { x: tensor('f32', [3, 5]), y: tensor('f32', [3, 5], { alias: 'x' }), p: 0 } },
      {
        name: 'rows of a larger tensor',
        args: { x: tensor('bf16', [3, 37]), y: tensor('bf16', [3, 37]), p: 0.4, seed: 5, firstRow: 1000003 },
      },
    ],
    bench: bench({ x: tensor('f32', big), y: tensor('f32', big), p: 0.1, seed: 1 }),
    naive({ x, residual }, { p = 0, seed = 0, firstRow = 0 }, f) {
      const first = firstRow * (x as Matrix).cols;
      const kept = (i: number): number => (counterUniform(seed, first + i) >= p ? f((x as Matrix).get(i) * f(1 / (1 - p))) : 0);
      return { y: map(x as Matrix, (i) => (residual ? f(kept(i) + residual.get(i)) : kept(i))) };
    },
  },
  {
    op: 'gather_rows',
    cases: rowTypes.flatMap((t) =>
      [0, 1, 7].map((n) => ({
        name: `${n} rows of ${t}`,
        args: {
          x: tensor(t, [11, 64], {
            rowPad: 32,
            keepType: true,
            ...(t === 'i32' ? { values: Array.from({ length: 704 }, (_, i) => i - 300) } : {}),
          }),
          index: rowNumbers(n, 11),
          y: tensor(t, [n, 64], { rowPad: 32, keepType: true }),
        },
      })),
    ),
    naive({ x, index }) {
      const [X, I] = [x as Matrix, index as Matrix];
      const y = new Matrix(I.data.length, X.cols);
      for (let n = 0; n < y.rows; n++) for (let c = 0; c < y.cols; c++) y.set(n, c, X.at(I.get(n), c));
      return { y };
    },
  },
  {
    op: 'scatter_rows',
    cases: rowTypes.flatMap((t) =>
      [0, 1, 7].map((n) => ({
        name: `${n} rows of ${t}`,
        args: {
          x: tensor(t, [n, 64], {
            rowPad: 32,
            keepType: true,
            ...(t === 'i32' ? { values: Array.from({ length: n * 64 }, (_, i) => i - 30) } : {}),
          }),
          index: rowNumbers(n, 11),
          y: tensor(t, [11, 64], { rowPad: 32, keepType: true }),
        },
      })),
    ),
    naive({ x, index }, _numbers, _f, types) {
      const [X, I] = [x as Matrix, index as Matrix];
      const y = output(types, 'y');
      for (let n = 0; n < X.rows; n++) for (let c = 0; c < X.cols; c++) y.set(I.get(n), c, X.at(n, c));
      return { y };
    },
  },
  {
    op: 'index_copy',
    cases: rowTypes.flatMap((t) =>
      [0, 1, 7].map((n) => ({
        name: `${n} rows of ${t}`,
        args: {
          x: tensor(t, [n, 64], {
            rowPad: 32,
            keepType: true,
            ...(t === 'i32' ? { values: Array.from({ length: n * 64 }, (_, i) => i - 30) } : {}),
          }),
          index: rowNumbers(n, 11),
          y: tensor(t, [11, 64], {
            rowPad: 32,
            keepType: true,
            ...(t === 'i32' ? { values: Array.from({ length: 11 * 64 }, (_, i) => 7 * i) } : {}),
          }),
        },
      })),
    ),
    naive({ x, index, y }) {
      const [X, I, Y] = [x as Matrix, index as Matrix, y as Matrix];
      const copied = map(Y, (i) => Y.get(i));
      for (let n = 0; n < X.rows; n++) for (let c = 0; c < X.cols; c++) copied.set(I.get(n), c, X.at(n, c));
      return { y: copied };
    },
  },
  {
    op: 'random_fill',
    cases: [0, 1].flatMap((kind) =>
      [...floats].flatMap((t) =>
        [[0, 7], [1], [9, 67]].map((s) => ({
          name: `[${s}] ${t} kind ${kind}`,
          args: { y: tensor(t, s), kind, low: -0.5, high: 0.75, seed: 123456789012 },
        })),
      ),
    ),
    naive(_inputs, { kind = 0, low = 0, high = 1, seed = 0 }, _f, types) {
      const y = output(types, 'y');
      return {
        y: map(y, (i) => {
          if (kind === 0) return low + (high - low) * counterUniform(seed, i);
          return low + high * counterNormal(seed, i);
        }),
      };
    },
  },
  {
    op: 'softcap_forward',
    cases: grid((s, t, pad) => ({ x: tensor(t, s, { rowPad: pad, scale: 20 }), y: tensor(t, s), softcap: 30 })),
    naive: ({ x }, { softcap = 1 }, f) => ({
      y: map(x as Matrix, (i) => f(f(softcap) * f(Math.tanh(f((x as Matrix).get(i) / f(softcap)))))),
    }),
  },
];
