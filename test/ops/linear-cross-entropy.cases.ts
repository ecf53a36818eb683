import type { DType } from '../../lib/core/dtype.js';
import { naiveEmbeddingGradient } from './embedding.cases.js';
import { dot } from './linear.cases.js';
import { naiveUpdate, updateVariants } from './naive-update.js';
import { weightTypes, wholeBlocks } from './quantized.js';
import { roundTo } from './storage.js';
import { Matrix, type OpCase, type OpSuite, type Round, type TensorSpec, tensor } from './suite.js';

interface Row {
  z: number[];
  slope: number[];
  lse: number;
}

function logitRow(h: Matrix, weight: Matrix, n: number, softcap: number, f: Round): Row {
  const row: Row = { z: [], slope: [], lse: 0 };
  for (let v = 0; v < weight.rows; v++) {
    const raw = dot(
      h.cols,
      (c) => h.at(n, c),
      (c) => weight.at(v, c),
      f,
    );
    const t = softcap > 0 ? f(Math.tanh(f(raw / f(softcap)))) : 0;
    row.z.push(softcap > 0 ? f(f(softcap) * t) : raw);
    row.slope.push(softcap > 0 ? f(1 - f(t * t)) : 1);
  }
  const largest = Math.max(...row.z);
  const sum = row.z.reduce((a, z) => f(a + f(Math.exp(f(z - largest)))), 0);
  row.lse = f(largest + f(Math.log(sum)));
  return row;
}

/** dlogits of row n. Where h is bf16 they are an operand of bf16 products, and so bf16 as well. */
function gradientRow(row: Row, lse: number, target: number, weight: number, f: Round, h?: DType): number[] {
  const dz = row.z.map((z, v) => f(f(weight * f(f(Math.exp(f(z - lse))) - (v === target ? 1 : 0))) * (row.slope[v] as number)));
  return h === 'bf16' ? dz.map((x) => roundTo('bf16', x)) : dz;
}

/** dweight += dlogits^T h for one token */
function addOuter(dweight: Matrix, d: number[], h: Matrix, n: number, f: Round): void {
  d.forEach((x, v) => {
    for (let c = 0; c < h.cols; c++) dweight.set(v, c, f(dweight.at(v, c) + f(x * h.at(n, c))));
  });
}

/** Targets with the first and last id and, every fifth, none. Weights as an objective makes them: 1 / N, some 0. */
function tokens(n: number, v: number): Record<'targets' | 'weights', TensorSpec> {
  const targets = Array.from({ length: n }, (_, i) => (i % 5 === 3 ? -100 : i === 0 ? v - 1 : (i * i * 3) % v));
  return {
    targets: tensor('i32', [n], { values: targets }),
    weights: tensor('f32', [n], { values: targets.map((_, i) => (i % 7 === 5 ? 0 : (1 + (i % 3)) / n)) }),
  };
}

const allOutputs = ['dh', 'dweight', 'lse', 'nll'] as const;

function lossCase(
  n: number,
  v: number,
  c: number,
  type: DType,
  weight: DType,
  softcap = 0,
  outputs: readonly string[] = allOutputs,
): OpCase {
  const all: Record<string, TensorSpec> = {
    dh: tensor(type, [n, c]),
    dweight: tensor('f32', [v, c]),
    lse: tensor('f32', [n]),
    nll: tensor('f32', [n]),
    // Logits of many tokens wait there for their gradients, unless rows lie apart.
    dlogits: tensor(type === 'bf16' ? 'bf16' : 'f32', [n, v], { rowPad: n < 200 ? 3 : 0 }),
  };
  return {
    name: `N${n} V${v} C${c} ${type} x ${weight} softcap ${softcap} makes ${outputs.join(', ') || 'the loss only'}`,
    args: {
      h: tensor(type, [n, c]),
      weight: tensor(weight, [v, c], { scale: 2 / Math.sqrt(c) }),
      ...tokens(n, v),
      lossSum: tensor('f64', [1], { values: [0.25] }),
      ...Object.fromEntries(outputs.map((name) => [name, all[name] as TensorSpec])),
      softcap,
    },
  };
}

/** Logits of the first rows of the vocabulary, or of the last ones, tower over those between. */
function toweringCase(
  n: number,
  v: number,
  c: number,
  type: DType,
  softcap: number,
  rows: 'first' | 'last',
  outputs: readonly string[],
): OpCase {
  const { name, args } = lossCase(n, v, c, type, type, softcap, outputs);
  const large = (row: number): boolean => (rows === 'last' ? row >= v - 5 : row < 5);
  const values = Array.from({ length: v * c }, (_, i) => {
    const row = Math.floor(i / c);
    return (Math.sin(i * (i % 31)) * (large(row) ? 40 : 1 + (3 * row) / v)) / Math.sqrt(c);
  });
  return { name: `${name}, the ${rows} logits tower`, args: { ...args, weight: tensor(type, [v, c], { values }) } };
}

/** Every target is all but certain. dh is f32, so that no rounding of it hides an error. */
function certainCase(n: number, v: number, c: number, type: DType, softcap: number): OpCase {
  const { name, args } = lossCase(n, v, c, type, type, softcap, ['dh', 'lse', 'nll']);
  const { h, dh, ...rest } = args;
  const values = ({ weight, targets }: Record<string, Matrix>): number[] =>
    Array.from({ length: n * c }, (_, i) => {
      const target = (targets as Matrix).get(Math.floor(i / c));
      return 3.5 * (target < 0 ? 1 : (weight as Matrix).at(target, i % c));
    });
  return { name: `${name}, certain`, args: { ...rest, h: tensor(type, [n, c], { values }), dh: tensor('f32', [n, c]) } };
}

function updateCases(
  n: number,
  v: number,
  c: number,
  type: DType,
  weight: DType,
  state: DType,
  tied: boolean,
  softcap = 0,
  kept = false,
): OpCase[] {
  // For benchmarks the size of lse is enough; by plain loops it would take minutes.
  const big = n * v * c > 1e7;
  return updateVariants([v, c], weight, state).map(([name, rule]) => ({
    name: `${name} N${n} V${v} C${c} ${type} ${weight} state ${state}${tied ? ' tied' : ''} softcap ${softcap}${kept ? ' from kept dlogits' : ''}`,
    args: {
      h: tensor(type, [n, c]),
      weight: tensor(weight, [v, c], { scale: 2 / Math.sqrt(c), keepType: 'stochasticRounding' in rule }),
      ...tokens(n, v),
      lse: tensor('f32', [n], {
        values: ({ h, weight }) =>
          Array.from({ length: n }, (_, i) => (big ? Math.log(v) + 2 : logitRow(h as Matrix, weight as Matrix, i, softcap, (x) => x).lse)),
      }),
      ...(tied
        ? {
            ids: tensor('i32', [n + 2], { values: Array.from({ length: n + 2 }, (_, i) => (i * 5) % v) }),
            embeddingDy: tensor(type, [n + 2, c], { scale: 0.1 }),
            embeddingScale: 2,
          }
        : {}),
      ...(kept ? { dlogits: tensor(type === 'bf16' ? 'bf16' : 'f32', [n, v], { scale: 1 / n, rowPad: 3 }) } : {}),
      softcap,
      ...rule,
    },
  }));
}

export const suites: OpSuite[] = [
  {
    op: 'linear_cross_entropy',
    precision: { lossSum: 'f32' },
    cases: [
      lossCase(0, 7, 8, 'f32', 'f32'),
      lossCase(1, 1, 1, 'f32', 'f32'),
      lossCase(5, 3, 2, 'f32', 'f32'),
      lossCase(37, 131, 65, 'f32', 'f32'),
      lossCase(37, 131, 65, 'bf16', 'bf16'),
      lossCase(20, 513, 32, 'f32', 'f32', 3),
      lossCase(130, 70, 33, 'f32', 'bf16', 30),
      lossCase(700, 40, 16, 'f32', 'f32'), // several chunks of tokens
      lossCase(7, 1100, 16, 'bf16', 'bf16'),
      lossCase(1100, 40, 16, 'f32', 'f32', 0, ['dh', 'nll']), // several groups of tokens
      lossCase(1030, 33, 9, 'bf16', 'bf16', 5, ['dh']),
      lossCase(60, 700, 35, 'bf16', 'bf16', 4, ['dh', 'nll']),
      lossCase(300, 131, 9, 'bf16', 'bf16', 0, ['dh', 'dlogits']),
      lossCase(300, 70, 9, 'f32', 'f32', 6, ['dh', 'dlogits']),
      lossCase(1300, 34, 8, 'bf16', 'bf16', 0, ['dlogits', 'lse']),
      toweringCase(20, 700, 32, 'f32', 0, 'last', ['dh', 'lse', 'nll']),
      toweringCase(20, 700, 32, 'bf16', 0, 'last', ['dh', 'lse', 'nll']),
      toweringCase(20, 700, 32, 'f32', 30, 'last', ['dh', 'dlogits']),
      toweringCase(20, 700, 32, 'bf16', 0, 'first', ['dh', 'dweight', 'lse']),
      certainCase(30, 300, 64, 'f32', 0),
      certainCase(30, 300, 64, 'bf16', 0),
      certainCase(30, 300, 64, 'bf16', 40),
      ...weightTypes.map((w) => lossCase(9, 67, wholeBlocks(w, 64), 'f32', w)),
      ...weightTypes.map((w) => lossCase(9, 67, wholeBlocks(w, 64), 'bf16', w, 2, ['dh', 'lse'])),
      lossCase(11, 50, 16, 'f32', 'f32', 0, []),
      lossCase(11, 50, 16, 'f32', 'f32', 0, ['nll']),
      lossCase(11, 50, 16, 'f32', 'f32', 0, ['dweight']),
      lossCase(11, 50, 16, 'f32', 'f32', 3, ['dlogits']),
      lossCase(130, 131, 65, 'bf16', 'bf16', 0, [...allOutputs, 'dlogits']),
      lossCase(130, 131, 65, 'f32', 'bf16', 2, [...allOutputs, 'dlogits']),
    ],
    bench: [
      lossCase(1024, 49152, 576, 'f32', 'f32', 0, ['dh', 'lse']),
      lossCase(1024, 49152, 576, 'bf16', 'bf16', 0, ['dh']),
      lossCase(1024, 49152, 576, 'f32', 'q4_1', 0, ['dh', 'lse']),
      lossCase(1024, 49152, 576, 'bf16', 'bf16', 0, ['dh', 'dweight', 'lse']),
    ],
    naive({ h, weight, targets, weights, lossSum, dweight }, { softcap = 0 }, f, types) {
      const [H, W, T, S] = [h as Matrix, weight as Matrix, targets as Matrix, weights as Matrix];
      const dh = new Matrix(H.rows, H.cols);
      const dw = new Matrix(W.rows, W.cols);
      const lse = new Matrix(1, H.rows);
      const dlogits = new Matrix(H.rows, W.rows);
      const nll = new Matrix(1, H.rows);
      let loss = 0;
      for (let n = 0; n < H.rows; n++) {
        const row = logitRow(H, W, n, softcap, f);
        const target = T.get(n);
        if (target < 0) continue;
        lse.data[n] = row.lse;
        nll.data[n] = f(row.lse - (row.z[target] as number));
        loss += S.get(n) * nll.get(n);
        const d = gradientRow(row, row.lse, target, S.get(n), f, types.h?.dtype);
        d.forEach((x, v) => {
          dlogits.set(n, v, x);
        });
        for (let c = 0; c < H.cols; c++)
          dh.set(
            n,
            c,
            dot(
              W.rows,
              (v) => d[v] as number,
              (v) => W.at(v, c),
              f,
            ),
          );
        if (dweight) addOuter(dw, d, H, n, f);
      }
      const out: Record<string, Matrix> = {
        dh,
        lse,
        nll,
        dlogits,
        lossSum: new Matrix(1, 1, Float64Array.of((lossSum as Matrix).get(0) + loss)),
      };
      if (dweight)
        out.dweight = new Matrix(
          W.rows,
          W.cols,
          dw.data.map((x, i) => f(x + dweight.get(i))),
        );
      return out;
    },
  },
  {
    op: 'linear_cross_entropy_update',
    cases: [
      ...updateCases(0, 7, 8, 'f32', 'f32', 'f32', false),
      ...updateCases(17, 131, 33, 'f32', 'f32', 'f32', false),
      ...updateCases(17, 67, 33, 'f32', 'f32', 'f32', true, 3),
      ...updateCases(40, 70, 32, 'bf16', 'bf16', 'f32', true),
      ...updateCases(9, 40, 16, 'bf16', 'bf16', 'bf16', false, 2),
      ...updateCases(37, 1100, 33, 'bf16', 'bf16', 'f32', true, 0, true),
      ...updateCases(37, 131, 33, 'f32', 'f32', 'f32', false, 0, true),
      ...updateCases(6, 1100, 9, 'f32', 'f32', 'f32', true), // several strips of the vocabulary
      ...updateCases(6, 1100, 9, 'f32', 'f32', 'u8', true),
      ...updateCases(37, 1100, 40, 'bf16', 'bf16', 'u8', true, 0, true).slice(1),
    ],
    bench: updateCases(1024, 49152, 576, 'bf16', 'bf16', 'f32', false),
    naive(inputs, numbers, f, types) {
      const { h, weight, targets, weights, lse, ids, embeddingDy, dlogits } = inputs;
      const [H, W, T, S, L] = [h as Matrix, weight as Matrix, targets as Matrix, weights as Matrix, lse as Matrix];
      let grad = new Matrix(W.rows, W.cols);
      for (let n = 0; n < H.rows; n++) {
        if (T.get(n) < 0) continue;
        const row = logitRow(H, W, n, numbers.softcap ?? 0, f);
        const d = dlogits
          ? Array.from({ length: W.rows }, (_, v) => dlogits.at(n, v))
          : gradientRow(row, L.get(n), T.get(n), S.get(n), f, types.h?.dtype);
        addOuter(grad, d, H, n, f);
      }
      if (ids && embeddingDy) grad = naiveEmbeddingGradient(grad, ids, embeddingDy, numbers.embeddingScale ?? 1, f);
      return naiveUpdate(inputs, grad, numbers, types, f);
    },
  },
];
