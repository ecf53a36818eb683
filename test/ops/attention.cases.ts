import type { DType } from '../../lib/core/dtype.js';
import { dot } from './linear.cases.js';
import { Matrix, type Numbers, type OpCase, type OpSuite, type Round, type TensorSpec, tensor } from './suite.js';

/** What query row i of head h sees: key rows [first, last), capped scores and the slope of the cap. */
interface Seen {
  h: number;
  i: number;
  first: number;
  z: number[];
  slope: number[];
}

interface Operands {
  q: Matrix;
  k: Matrix;
  cuQ: Matrix;
  cuK: Matrix;
}

function seen({ q, k, cuQ, cuK }: Operands, numbers: Numbers, f: Round): Seen[] {
  const { heads = 1, kvHeads = 1, window = 0, scale = 1, softcap = 0 } = numbers;
  const d = q.cols / heads;
  const all: Seen[] = [];
  for (let s = 0; s + 1 < cuQ.data.length; s++)
    for (let i = cuQ.get(s); i < cuQ.get(s + 1); i++) {
      const end = cuK.get(s + 1) - (cuQ.get(s + 1) - 1 - i);
      const first = Math.max(cuK.get(s), window > 0 ? end - window : 0);
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor(h / (heads / kvHeads));
        const z: number[] = [];
        const slope: number[] = [];
        for (let j = first; j < end; j++) {
          const raw = f(
            f(scale) *
              dot(
                d,
                (e) => q.at(i, h * d + e),
                (e) => k.at(j, kv * d + e),
                f,
              ),
          );
          const t = softcap > 0 ? f(Math.tanh(f(raw / f(softcap)))) : 0;
          z.push(softcap > 0 ? f(f(softcap) * t) : raw);
          slope.push(softcap > 0 ? f(1 - f(t * t)) : 1);
        }
        all.push({ h, i, first, z, slope });
      }
    }
  return all;
}

export function naiveAttention(operands: Operands & { v: Matrix }, numbers: Numbers, f: Round): { o: Matrix; lse: Matrix } {
  const { heads = 1, kvHeads = 1 } = numbers;
  const { q, v } = operands;
  const d = q.cols / heads;
  const o = new Matrix(q.rows, q.cols);
  const lse = new Matrix(q.rows, heads, new Float64Array(q.rows * heads).fill(-Infinity));
  for (const { h, i, first, z } of seen(operands, numbers, f)) {
    if (z.length === 0) continue;
    const largest = Math.max(...z);
    const p = z.map((x) => f(Math.exp(f(x - largest))));
    const sum = p.reduce((a, b) => f(a + b), 0);
    lse.set(i, h, f(largest + f(Math.log(sum))));
    const kv = Math.floor(h / (heads / kvHeads));
    for (let e = 0; e < d; e++)
      o.set(
        i,
        h * d + e,
        f(
          dot(
            p.length,
            (n) => p[n] as number,
            (n) => v.at(first + n, kv * d + e),
            f,
          ) / sum,
        ),
      );
  }
  return { o, lse };
}

interface Options {
  type?: DType;
  heads?: number;
  kvHeads?: number;
  window?: number;
  softcap?: number;
  /** q, k and v are columns of one fused tensor. */
  pad?: number;
  /** Rows before and after the sequences. */
  margin?: number;
  lse?: boolean;
}

/** sequences: [queries, keys] of each. */
function operands(sequences: [number, number][], d: number, o: Required<Options>): Record<string, TensorSpec> {
  const offsets = (column: 0 | 1): number[] => {
    const list = [o.margin];
    for (const s of sequences) list.push((list.at(-1) as number) + s[column]);
    return list;
  };
  const [cuQ, cuK] = [offsets(0), offsets(1)];
  const [n, nk] = [(cuQ.at(-1) as number) + o.margin, (cuK.at(-1) as number) + o.margin];
  return {
    q: tensor(o.type, [n, o.heads * d], { rowPad: o.pad, scale: 1.5 }),
    k: tensor(o.type, [nk, o.kvHeads * d], { rowPad: o.pad }),
    v: tensor(o.type, [nk, o.kvHeads * d], { rowPad: o.pad }),
    cuQ: tensor('i32', [cuQ.length], { values: cuQ }),
    cuK: tensor('i32', [cuK.length], { values: cuK }),
  };
}

const defaults: Required<Options> = { type: 'f32', heads: 2, kvHeads: 1, window: 0, softcap: 0, pad: 0, margin: 0, lse: true };

function label(sequences: [number, number][], d: number, o: Required<Options>): string {
  const lengths = sequences.length > 4 ? `${sequences.length} sequences` : sequences.map((s) => s.join('x')).join(' ');
  const options = [o.window && `window ${o.window}`, o.softcap && `softcap ${o.softcap}`, o.pad && 'strided', o.margin && 'unused rows'];
  return [`${lengths} D${d} heads ${o.heads}/${o.kvHeads} ${o.type}`, ...options, !o.lse && 'without lse'].filter(Boolean).join(', ');
}

function forward(sequences: [number, number][], d: number, options: Options = {}): OpCase {
  const o = { ...defaults, ...options };
  const tensors = operands(sequences, d, o);
  const shape = (tensors.q as TensorSpec).shape;
  return {
    name: label(sequences, d, o),
    args: {
      ...tensors,
      o: tensor(o.type, shape, { rowPad: o.pad }),
      ...(o.lse ? { lse: tensor('f32', [shape[0] as number, o.heads]) } : {}),
      ...numbersOf(d, o),
    },
  };
}

function numbersOf(d: number, o: Required<Options>): Numbers {
  return { heads: o.heads, kvHeads: o.kvHeads, window: o.window, softcap: o.softcap, scale: 1 / Math.sqrt(d) };
}

function backward(sequences: [number, number][], d: number, options: Options = {}): OpCase {
  const o = { ...defaults, ...options };
  const { q, k, v, cuQ, cuK } = operands(sequences, d, o) as Record<'q' | 'k' | 'v' | 'cuQ' | 'cuK', TensorSpec>;
  const run = (before: Record<string, Matrix>): { o: Matrix; lse: Matrix } =>
    naiveAttention(before as unknown as Operands & { v: Matrix }, numbersOf(d, o), (x) => x);
  return {
    name: label(sequences, d, o),
    args: {
      dout: tensor(o.type, q.shape, { rowPad: o.pad }),
      q,
      k,
      v,
      cuQ,
      cuK,
      o: tensor(o.type, q.shape, { values: (before) => run(before).o.data }),
      lse: tensor('f32', [q.shape[0] as number, o.heads], { values: (before) => run(before).lse.data }),
      dq: tensor(o.type, q.shape, { rowPad: o.pad }),
      dk: tensor(o.type, k.shape, { rowPad: o.pad }),
      dv: tensor(o.type, v.shape, { rowPad: o.pad }),
      ...numbersOf(d, o),
    },
  };
}

const list: [[number, number][], number, Options?][] = [
  [[[0, 0]], 8],
  [[[1, 1]], 1, { heads: 1 }],
  [[[5, 5]], 3],
  [[[65, 65]], 16],
  [[[130, 130]], 32, { heads: 1 }],
  [[[33, 33]], 64, { heads: 6, kvHeads: 2 }],
  [
    [
      [7, 7],
      [1, 1],
      [0, 0],
      [17, 17],
    ],
    24,
    { heads: 4, kvHeads: 4 },
  ],
  [[[1, 37]], 20, { heads: 3 }],
  [
    [
      [3, 40],
      [2, 2],
      [4, 9],
    ],
    16,
  ],
  [
    [
      [6, 2],
      [3, 3],
    ],
    8,
  ], // queries before the first key see nothing
  [
    [
      [40, 40],
      [9, 9],
    ],
    16,
    { window: 5 },
  ],
  [[[4, 90]], 16, { window: 64 }],
  [[[21, 21]], 16, { softcap: 2.5 }],
  [[[75, 75]], 12, { heads: 10, kvHeads: 2 }], // strips with an odd number of rows
  [[[3, 2100]], 4], // more keys than a backward sweep has room for
  [
    [
      [30, 33],
      [8, 8],
    ],
    40,
    { window: 7, softcap: 1.5, heads: 4, kvHeads: 2, pad: 9 },
  ],
  [
    [
      [9, 9],
      [5, 7],
    ],
    16,
    { margin: 3 },
  ],
  [Array.from({ length: 20 }, (_, i) => [i % 4, i % 4] as [number, number]), 8],
];
const withTypes = list.flatMap(([s, d, options]) => (['f32', 'bf16'] as const).map((type) => [s, d, { ...options, type }] as const));

/** SmolLM2-135M on 4 x 256, 1 x 512 and 1 x 1024 tokens. */
function modelCases(build: typeof forward): OpCase[] {
  const batches: [number, number][][] = [Array(4).fill([256, 256]), [[512, 512]], [[1024, 1024]]];
  return (['f32', 'bf16'] as const).flatMap((type) => batches.map((b) => build(b, 64, { heads: 9, kvHeads: 3, type })));
}

export const suites: OpSuite[] = [
  {
    op: 'attention_forward',
    cases: [...withTypes.map(([s, d, options]) => forward(s, d, options)), forward([[9, 9]], 16, { type: 'f16', lse: false })],
    bench: [...modelCases(forward), forward([[1, 2048]], 64, { heads: 9, kvHeads: 3 })],
    naive(inputs, numbers, f) {
      const { o, lse } = naiveAttention(inputs as unknown as Operands & { v: Matrix }, numbers, f);
      return { o, lse };
    },
  },
  {
    op: 'attention_backward',
    cases: withTypes.map(([s, d, options]) => backward(s, d, options)),
    bench: modelCases(backward),
    naive(inputs, numbers, f) {
      const { dout, q, k, v, o, lse } = inputs as Record<'dout' | 'q' | 'k' | 'v' | 'o' | 'lse', Matrix>;
      const { heads = 1, kvHeads = 1, scale = 1 } = numbers;
      const d = q.cols / heads;
      const [dq, dk, dv] = [new Matrix(q.rows, q.cols), new Matrix(k.rows, k.cols), new Matrix(k.rows, k.cols)];
      const add = (m: Matrix, i: number, j: number, x: number): void => m.set(i, j, f(m.at(i, j) + x));
      for (const { h, i, first, z, slope } of seen(inputs as unknown as Operands, numbers, f)) {
        const [a, b] = [h * d, Math.floor(h / (heads / kvHeads)) * d];
        const delta = dot(
          d,
          (e) => dout.at(i, a + e),
          (e) => o.at(i, a + e),
          f,
        );
        z.forEach((score, n) => {
          const j = first + n;
          const p = f(Math.exp(f(score - lse.at(i, h))));
          const dp = dot(
            d,
            (e) => dout.at(i, a + e),
            (e) => v.at(j, b + e),
            f,
          );
          const dz = f(f(f(p * f(dp - delta)) * (slope[n] as number)) * f(scale));
          for (let e = 0; e < d; e++) {
            add(dv, j, b + e, f(p * dout.at(i, a + e)));
            add(dq, i, a + e, f(dz * k.at(j, b + e)));
            add(dk, j, b + e, f(dz * q.at(i, a + e)));
          }
        });
      }
      return { dq, dk, dv };
    },
  },
];
