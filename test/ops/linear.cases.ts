import type { DType } from '../../lib/core/dtype.js';
import { naiveUpdate, updateVariants } from './naive-update.js';
import { weightTypes, wholeBlocks } from './quantized.js';
import { Matrix, type OpCase, type OpSuite, type Round, type TensorSpec, tensor } from './suite.js';

export type Args = Record<string, TensorSpec | number>;

/** [K, M] of the matrices of SmolLM2-135M: q and o, k and v, gate and up, down, head. */
const modelShapes = [
  [576, 576],
  [576, 192],
  [576, 1536],
  [1536, 576],
  [576, 49152],
] as const;
const modelCases = (build: (k: number, m: number, type: DType) => OpCase): OpCase[] =>
  (['f32', 'bf16'] as const).flatMap((type) => modelShapes.map(([k, m]) => build(k, m, type)));

/** [N, K, M]: none, one, odd, one past the usual tiles of 6 to 16 rows, 16 to 64 columns and 256 inner steps. */
const shapes = [
  [0, 32, 16],
  [1, 1, 1],
  [1, 96, 130],
  [3, 7, 5],
  [7, 33, 17],
  [17, 257, 65],
  [49, 64, 33],
  [65, 513, 19],
] as const;
export const scaleOf = (k: number): number => 1 / Math.sqrt(Math.max(1, k));

/** sum_i a(i) b(i), added to `start` in order. */
export function dot(count: number, a: (i: number) => number, b: (i: number) => number, f: Round, start = 0): number {
  let sum = start;
  for (let i = 0; i < count; i++) sum = f(sum + f(a(i) * b(i)));
  return sum;
}

/** scale * dy^T x */
export function naiveWeightGradient(dy: Matrix, x: Matrix, scale: number, f: Round): Matrix {
  const dw = new Matrix(dy.cols, x.cols);
  for (let m = 0; m < dw.rows; m++)
    for (let k = 0; k < dw.cols; k++)
      dw.set(
        m,
        k,
        f(
          f(scale) *
            dot(
              x.rows,
              (n) => dy.at(n, m),
              (n) => x.at(n, k),
              f,
            ),
        ),
      );
  return dw;
}

function forwardCase(name: string, n: number, k: number, m: number, activation: DType, weight: DType, extra: Args = {}, pad = 0): OpCase {
  const row = { rowPad: pad };
  return {
    name: `${name} N${n} K${k} M${m} ${activation} x ${weight}`,
    args: {
      x: tensor(activation, [n, k], row),
      weight: tensor(weight, [m, k], { scale: scaleOf(k) }),
      ...extra,
      y: tensor(activation, [n, m], row),
    },
  };
}

const tail = (n: number, m: number, r: number, type: DType): Args => ({
  tailX: tensor(type, [n, r], { scale: scaleOf(r) }),
  tailWeight: tensor(type, [m, r]),
  tailScale: 2,
});

const linearForward: OpSuite = {
  op: 'linear_forward',
  cases: [
    ...shapes.map(([n, k, m]) => forwardCase('plain', n, k, m, 'f32', 'f32')),
    ...shapes.map(([n, k, m]) => forwardCase('plain', n, k, m, 'bf16', 'bf16')),
    ...weightTypes.flatMap((w) => (['f32', 'bf16'] as const).map((a) => forwardCase('formats', 9, wholeBlocks(w, 96), 67, a, w))),
    ...weightTypes.map((w) => forwardCase('one token', 1, wholeBlocks(w, 160), 70, 'f32', w)),
    ...weightTypes.map((w) => forwardCase('one token, long', 1, wholeBlocks(w, 1184), 71, 'f32', w)),
    ...weightTypes.flatMap((w) => [2, 4, 7].map((n) => forwardCase('few tokens', n, wholeBlocks(w, 96), 70, 'f32', w))),
    forwardCase('one token, everything', 1, 96, 70, 'f32', 'q4_1', {
      bias: tensor('f32', [70]),
      ...tail(1, 70, 5, 'f32'),
      residual: tensor('f32', [1, 70]),
    }),
    ...weightTypes.map((w) => forwardCase('long', 18, wholeBlocks(w, 1056), 35, 'f32', w)),
    forwardCase('several scales of scales a row', 2, 17472, 5, 'f32', 'nf4_dq'),
    forwardCase('several panels', 150, 290, 210, 'f32', 'f32'),
    forwardCase('several panels', 150, 290, 210, 'bf16', 'bf16'),
    forwardCase('several blocks, odd', 71, 533, 97, 'bf16', 'bf16', tail(71, 97, 3, 'bf16')),
    forwardCase('several blocks', 71, 544, 97, 'bf16', 'q4_1', tail(71, 97, 3, 'f32')),
    forwardCase('several passes', 20, 2305, 70, 'bf16', 'bf16'),
    ...[1, 16, 40, 64].flatMap((m) =>
      (['f32', 'bf16', 'f16'] as const).map((type) => forwardCase('narrow', 45, 533, m, type, type, {}, 3)),
    ),
    forwardCase('narrow, rounded to bf16', 45, 533, 16, 'bf16', 'f32'),
    forwardCase('bias', 5, 48, 21, 'f32', 'f32', { bias: tensor('f32', [21]) }),
    forwardCase('bias', 5, 48, 21, 'bf16', 'bf16', { bias: tensor('bf16', [21]) }),
    forwardCase('tail', 13, 64, 31, 'f32', 'f32', tail(13, 31, 8, 'f32')),
    forwardCase('tail', 13, 64, 31, 'bf16', 'q4_1', tail(13, 31, 3, 'bf16')),
    forwardCase('tail, f32 adapter on bf16', 13, 64, 31, 'bf16', 'bf16', {
      ...tail(13, 31, 16, 'f32'),
      tailX: tensor('bf16', [13, 16], { scale: 0.25 }),
    }),
    forwardCase('more inputs than one pass, everything', 6, 1056, 40, 'f32', 'f32', {
      bias: tensor('f32', [40]),
      ...tail(6, 40, 4, 'f32'),
      residual: tensor('f32', [6, 40]),
    }),
    forwardCase('residual', 6, 40, 24, 'f32', 'f32', { residual: tensor('f32', [6, 24]) }),
    forwardCase(
      'everything, strided',
      11,
      64,
      37,
      'f32',
      'q8_0',
      {
        bias: tensor('f32', [37]),
        ...tail(11, 37, 5, 'f32'),
        residual: tensor('f32', [11, 37], { rowPad: 3 }),
      },
      5,
    ),
    {
      name: 'residual shares memory with y',
      args: {
        x: tensor('bf16', [9, 70]),
        weight: tensor('bf16', [34, 70], { scale: scaleOf(70) }),
        residual: tensor('bf16', [9, 34]),
        y: tensor('bf16', [9, 34], { alias: 'residual' }),
      },
    },
    {
      name: 'f32 out of bf16, memory off alignment',
      args: {
        x: tensor('bf16', [5, 50], { rowPad: 1, skip: 1 }),
        weight: tensor('bf16', [19, 50], { scale: scaleOf(50), skip: 3 }),
        y: tensor('f32', [5, 19], { rowPad: 1, skip: 1 }),
      },
    },
  ],
  bench: [
    ...modelCases((k, m, type) => forwardCase('SmolLM2', 1024, k, m, type, type)),
    ...(['bf16', 'q8_0', 'q4_1'] as const).map((w) => forwardCase('SmolLM2', 1024, 576, 1536, 'f32', w)),
    ...weightTypes.map((w) => forwardCase('SmolLM2', 1024, wholeBlocks(w, 576), 1536, 'bf16', w)),
    ...weightTypes.map((w) => forwardCase('one token', 1, wholeBlocks(w, 576), 1536, 'f32', w)),
    forwardCase('SmolLM2 LoRA r16', 1024, 576, 1536, 'bf16', 'bf16', tail(1024, 1536, 16, 'f32')),
    ...(['bf16', 'q4_1'] as const).flatMap((w) =>
      modelShapes.map(([k, m]) => forwardCase('one token', 1, k, m, w === 'bf16' ? 'bf16' : 'f32', w)),
    ),
  ],
  naive({ x, weight, bias, tailX, tailWeight, residual }, { tailScale = 1 }, f) {
    const [X, W] = [x as Matrix, weight as Matrix];
    const y = new Matrix(X.rows, W.rows);
    for (let n = 0; n < X.rows; n++)
      for (let m = 0; m < W.rows; m++) {
        let sum = dot(
          X.cols,
          (k) => X.at(n, k),
          (k) => W.at(m, k),
          f,
        );
        if (tailX && tailWeight)
          sum = dot(
            tailX.cols,
            (r) => f(f(tailScale) * tailX.at(n, r)),
            (r) => tailWeight.at(m, r),
            f,
            sum,
          );
        if (bias) sum = f(sum + bias.get(m));
        if (residual) sum = f(sum + residual.at(n, m));
        y.set(n, m, sum);
      }
    return { y };
  },
};

function inputCase(name: string, n: number, k: number, m: number, activation: DType, weight: DType, extra: Args = {}, pad = 0): OpCase {
  return {
    name: `${name} N${n} K${k} M${m} ${activation} x ${weight}`,
    args: {
      dy: tensor(activation, [n, m], { rowPad: pad }),
      weight: tensor(weight, [m, k], { scale: scaleOf(m) }),
      ...extra,
      dx: tensor(activation, [n, k], { rowPad: pad }),
    },
  };
}

const inputTail = (n: number, k: number, r: number, type: DType): Args => ({
  tailDy: tensor(type, [n, r]),
  tailWeight: tensor(type, [r, k], { scale: scaleOf(r) }),
  tailScale: 0.5,
});

export const linearBackwardInput: OpSuite = {
  op: 'linear_backward_input',
  cases: [
    ...shapes.map(([n, k, m]) => inputCase('plain', n, k, m, 'f32', 'f32')),
    ...shapes.map(([n, k, m]) => inputCase('plain', n, k, m, 'bf16', 'bf16')),
    ...weightTypes.flatMap((w) => (['f32', 'bf16'] as const).map((a) => inputCase('formats', 9, wholeBlocks(w, 96), 67, a, w))),
    ...weightTypes.map((w) => inputCase('long', 18, wholeBlocks(w, 64), 530, 'f32', w)),
    inputCase('several panels', 150, 210, 290, 'f32', 'f32'),
    inputCase('several panels', 150, 210, 290, 'bf16', 'bf16'),
    inputCase('several blocks, odd', 71, 97, 533, 'bf16', 'bf16', { ...inputTail(71, 97, 3, 'bf16'), accumulate: 1 }),
    ...[1, 16, 40, 64].flatMap((k) => (['f32', 'bf16', 'f16'] as const).map((type) => inputCase('narrow', 45, k, 533, type, type, {}, 3))),
    inputCase('more outputs than one pass', 7, 32, 1056, 'f32', 'q4_1', { ...inputTail(7, 32, 4, 'f32'), accumulate: 1 }),
    inputCase('accumulated', 7, 45, 26, 'f32', 'f32', { accumulate: 1 }),
    inputCase('accumulated', 7, 45, 26, 'bf16', 'bf16', { accumulate: 1 }),
    inputCase('tail', 13, 64, 31, 'f32', 'q4_0', inputTail(13, 64, 8, 'f32')),
    inputCase('everything, strided', 19, 96, 31, 'f32', 'q4_1', { ...inputTail(19, 96, 5, 'f32'), accumulate: 1 }, 7),
    inputCase('everything, strided', 19, 96, 31, 'bf16', 'bf16', { ...inputTail(19, 96, 5, 'bf16'), accumulate: 1 }, 3),
  ],
  bench: [
    ...modelCases((k, m, type) => inputCase('SmolLM2', 1024, k, m, type, type)),
    ...(['bf16', 'q4_1'] as const).map((w) => inputCase('SmolLM2', 1024, 576, 1536, 'f32', w)),
    ...weightTypes.map((w) => inputCase('SmolLM2', 1024, wholeBlocks(w, 576), 1536, 'bf16', w)),
    inputCase('SmolLM2 LoRA r16', 1024, 576, 1536, 'bf16', 'bf16', inputTail(1024, 576, 16, 'f32')),
  ],
  naive({ dy, weight, tailDy, tailWeight, dx }, { tailScale = 1, accumulate = 0 }, f) {
    const [DY, W, DX] = [dy as Matrix, weight as Matrix, dx as Matrix];
    const out = new Matrix(DY.rows, W.cols);
    for (let n = 0; n < DY.rows; n++)
      for (let k = 0; k < W.cols; k++) {
        let sum = dot(
          W.rows,
          (m) => DY.at(n, m),
          (m) => W.at(m, k),
          f,
        );
        if (tailDy && tailWeight)
          sum = dot(
            tailDy.cols,
            (r) => f(f(tailScale) * tailDy.at(n, r)),
            (r) => tailWeight.at(r, k),
            f,
            sum,
          );
        out.set(n, k, accumulate ? f(sum + DX.at(n, k)) : sum);
      }
    return { dx: out };
  },
};

/** One layer of a shared op: its width and the types of weight and tail. */
interface SharedLayer {
  m: number;
  weight: DType;
  bias?: boolean;
  /** Width and type of the tail. */
  tail?: [number, DType];
}

/** Arguments of the layers with their position as a suffix: weight0, y0, ..., weight1, ... */
export function numbered(layers: readonly Args[]): Args {
  return Object.assign({}, ...layers.map((layer, i) => Object.fromEntries(Object.entries(layer).map(([key, v]) => [`${key}${i}`, v]))));
}

const layerNames = (layers: readonly SharedLayer[]): string =>
  layers.map((l) => `M${l.m} ${l.weight}${l.tail ? ` r${l.tail[0]} ${l.tail[1]}` : ''}`).join(', ');

function sharedForwardCase(name: string, n: number, k: number, type: DType, layers: SharedLayer[], pad = 0): OpCase {
  return {
    name: `${name} N${n} K${k} ${type}: ${layerNames(layers)}`,
    args: {
      x: tensor(type, [n, k], { rowPad: pad }),
      ...numbered(
        layers.map((l) => ({
          weight: tensor(l.weight, [l.m, k], { scale: scaleOf(k) }),
          ...(l.bias && { bias: tensor('f32', [l.m]) }),
          ...(l.tail && { ...tail(n, l.m, ...l.tail), tailX: tensor(type, [n, l.tail[0]], { scale: scaleOf(l.tail[0]) }) }),
          y: tensor(type, [n, l.m], { rowPad: pad }),
        })),
      ),
    },
  };
}

function sharedInputCase(name: string, n: number, k: number, type: DType, layers: SharedLayer[], pad = 0): OpCase {
  return {
    name: `${name} N${n} K${k} ${type}: ${layerNames(layers)}`,
    args: {
      ...numbered(
        layers.map((l) => ({
          dy: tensor(type, [n, l.m], { rowPad: pad }),
          weight: tensor(l.weight, [l.m, k], { scale: scaleOf(l.m) }),
          ...(l.tail && { ...inputTail(n, k, ...l.tail), tailDy: tensor(type, [n, l.tail[0]]) }),
        })),
      ),
      dx: tensor(type, [n, k], { rowPad: pad }),
    },
  };
}

/** q, k and v of SmolLM2-135M, then gate and up, with LoRA of rank 16. */
const sharedBench = (build: (name: string, n: number, k: number, type: DType, layers: SharedLayer[]) => OpCase): OpCase[] =>
  (['f32', 'bf16'] as const).flatMap((type) =>
    [
      [576, 192, 192],
      [1536, 1536],
    ].map((widths) =>
      build(
        'SmolLM2 LoRA r16',
        1024,
        576,
        type,
        widths.map((m) => ({ m, weight: type, tail: [16, 'f32'] })),
      ),
    ),
  );

const sharedCases = (build: (name: string, n: number, k: number, type: DType, layers: SharedLayer[], pad?: number) => OpCase): OpCase[] => {
  const threeOf = (weight: DType, tailType?: DType): SharedLayer[] =>
    [67, 19, 33].map((m, i) => ({ m, weight, ...(tailType && { tail: [[8, 3, 5][i] as number, tailType] }) }));
  return [
    build('no token', 0, 32, 'f32', threeOf('f32')),
    build('one token', 1, 96, 'f32', threeOf('q4_1', 'f32')),
    build('few tokens', 5, 96, 'f32', threeOf('f32').slice(0, 2)),
    ...(['f32', 'bf16'] as const).flatMap((type) => [
      build('one layer', 13, 40, type, threeOf(type, type).slice(0, 1)),
      build('two layers', 19, 33, type, threeOf(type, 'f32').slice(0, 2), 3),
      build('three layers', 45, 257, type, threeOf(type, type), 5),
      build('one of three has a tail', 17, 64, type, [
        { m: 31, weight: type },
        { m: 16, weight: type, tail: [4, 'f32'] },
        { m: 9, weight: type },
      ]),
      build('other formats', 21, 96, type, [
        { m: 33, weight: 'q4_1', bias: true },
        { m: 35, weight: 'q8_0', tail: [16, 'f32'] },
        { m: 8, weight: 'f16' },
      ]),
      build(
        'narrow',
        45,
        533,
        type,
        [16, 5, 24].map((m) => ({ m, weight: type })),
      ),
      build(
        'several panels and blocks',
        71,
        533,
        type,
        [70, 97].map((m) => ({ m, weight: type, tail: [3, type] })),
      ),
      build(
        'more inputs than one pass',
        11,
        1930,
        type,
        [40, 21].map((m) => ({ m, weight: type, tail: [16, 'f32'] })),
      ),
    ]),
    build(
      'more outputs than one pass',
      9,
      40,
      'f32',
      [1050, 700].map((m) => ({ m, weight: 'f32', tail: [4, 'f32'] })),
    ),
  ];
};

export const layersOf = [0, 1, 2] as const;

const linearForwardShared: OpSuite = {
  op: 'linear_forward_shared',
  cases: sharedCases(sharedForwardCase),
  bench: sharedBench(sharedForwardCase),
  naive(inputs, numbers, f, types) {
    const outputs = layersOf
      .filter((i) => inputs[`weight${i}`])
      .map((i) => {
        const own = Object.fromEntries(['weight', 'bias', 'tailX', 'tailWeight'].map((key) => [key, inputs[`${key}${i}`]]));
        const { y } = linearForward.naive({ ...own, x: inputs.x } as never, { tailScale: numbers[`tailScale${i}`] ?? 1 }, f, types);
        return [`y${i}`, y];
      });
    return Object.fromEntries(outputs);
  },
};

const linearBackwardInputShared: OpSuite = {
  op: 'linear_backward_input_shared',
  cases: sharedCases(sharedInputCase),
  bench: sharedBench(sharedInputCase),
  naive(inputs, numbers, f, types) {
    let sum: Matrix | undefined;
    for (const i of layersOf) {
      if (!inputs[`weight${i}`]) continue;
      const own = Object.fromEntries(['dy', 'weight', 'tailDy', 'tailWeight'].map((key) => [key, inputs[`${key}${i}`]]));
      const accumulate = sum ? 1 : 0;
      const made = linearBackwardInput.naive(
        { ...own, ...(sum && { dx: sum }) } as never,
        { tailScale: numbers[`tailScale${i}`] ?? 1, accumulate },
        f,
        types,
      );
      sum = made.dx;
    }
    return { dx: sum as Matrix };
  },
};

function weightCase(name: string, n: number, k: number, m: number, activation: DType, extra: Args = {}, pad = 0): OpCase {
  return {
    name: `${name} N${n} K${k} M${m} ${activation}`,
    args: {
      dy: tensor(activation, [n, m], { rowPad: pad, scale: scaleOf(n) }),
      x: tensor(activation, [n, k], { rowPad: pad }),
      dweight: tensor('f32', [m, k]),
      ...extra,
    },
  };
}

export const linearBackwardWeight: OpSuite = {
  op: 'linear_backward_weight',
  cases: [
    ...shapes.map(([n, k, m]) => weightCase('plain', n, k, m, 'f32')),
    ...shapes.map(([n, k, m]) => weightCase('accumulated', n, k, m, 'bf16', { accumulate: 1 })),
    weightCase('more tokens than one pass', 1030, 17, 18, 'f32', { accumulate: 1 }),
    weightCase('many tokens', 530, 33, 20, 'f32', { scale: 2 }),
    weightCase('several panels', 1030, 97, 83, 'f32', { accumulate: 1 }),
    weightCase('several panels, odd', 533, 97, 83, 'bf16', { scale: 0.5, accumulate: 1 }),
    ...[1, 8, 16, 40, 64].flatMap((r) =>
      (['f32', 'bf16', 'f16'] as const).flatMap((type) => [
        weightCase('narrow', 533, 101, r, type, { scale: 0.5, accumulate: 1 }, 3),
        weightCase('narrow, transposed', 533, r, 101, type, { scale: 2 }, 3),
      ]),
    ),
    weightCase('many tokens, accumulated', 530, 33, 20, 'bf16', { scale: 0.5, accumulate: 1 }),
    weightCase('strided', 21, 50, 34, 'f32', { scale: 0.25, accumulate: 1 }, 6),
    weightCase('strided', 21, 50, 34, 'f16', {}, 3),
  ],
  bench: modelCases((k, m, type) => weightCase('SmolLM2', 1024, k, m, type)),
  naive({ dy, x, dweight }, { scale = 1, accumulate = 0 }, f) {
    const dw = naiveWeightGradient(dy as Matrix, x as Matrix, scale, f);
    if (accumulate) dw.data.forEach((v, i) => (dw.data[i] = f(v + (dweight as Matrix).get(i))));
    return { dweight: dw };
  },
};

const linearBackwardBias: OpSuite = {
  op: 'linear_backward_bias',
  cases: (['f32', 'bf16'] as const).flatMap((type) =>
    [
      [0, 8],
      [1, 1],
      [37, 65],
      [301, 33],
    ].map(([n, m]) => ({
      name: `N${n} M${m} ${type}`,
      args: { dy: tensor(type, [n as number, m as number], { rowPad: 2 }), dbias: tensor('f32', [m as number]) },
    })),
  ),
  naive({ dy, dbias }, _numbers, f) {
    const [DY, before] = [dy as Matrix, dbias as Matrix];
    const out = new Matrix(before.rows, before.cols);
    for (let m = 0; m < DY.cols; m++)
      out.data[m] = f(
        before.get(m) +
          dot(
            DY.rows,
            (n) => DY.at(n, m),
            () => 1,
            f,
          ),
      );
    return { dbias: out };
  },
};

function updateCases(n: number, k: number, m: number, activation: DType, weight: DType, state: DType): OpCase[] {
  return updateVariants([m, k], weight, state).map(([name, rule]) => ({
    name: `${name} N${n} K${k} M${m} ${activation} ${weight} state ${state}`,
    args: {
      dy: tensor(activation, [n, m], { scale: scaleOf(n), rowPad: 1 }),
      x: tensor(activation, [n, k]),
      weight: tensor(weight, [m, k], { scale: scaleOf(k), keepType: 'stochasticRounding' in rule }),
      scale: 0.5,
      ...rule,
    },
  }));
}

const linearBackwardWeightUpdate: OpSuite = {
  op: 'linear_backward_weight_update',
  cases: [
    ...updateCases(0, 33, 9, 'f32', 'f32', 'f32'),
    ...updateCases(19, 70, 35, 'f32', 'f32', 'f32'),
    ...updateCases(40, 67, 129, 'bf16', 'bf16', 'f32'),
    ...updateCases(33, 40, 21, 'bf16', 'bf16', 'bf16'),
    ...updateCases(5, 31, 18, 'f32', 'f16', 'f32'),
    ...updateCases(3, 601, 1030, 'f32', 'f32', 'f32').slice(0, 1), // several strips of rows
    ...updateCases(19, 70, 35, 'f32', 'f32', 'u8'),
    ...updateCases(2, 602, 1030, 'bf16', 'bf16', 'u8').slice(1), // strips of whole blocks
  ],
  bench: updateCases(1024, 576, 1536, 'bf16', 'bf16', 'f32'),
  naive(inputs, numbers, f, types) {
    const dw = naiveWeightGradient(inputs.dy as Matrix, inputs.x as Matrix, numbers.scale ?? 1, f);
    return naiveUpdate(inputs, dw, numbers, types, f);
  },
};

export const suites: OpSuite[] = [
  linearForward,
  linearBackwardInput,
  linearForwardShared,
  linearBackwardInputShared,
  linearBackwardWeight,
  linearBackwardBias,
  linearBackwardWeightUpdate,
];
