// Every backward op against central differences of its forward, in float64 on the reference.
import { describe, expect, it } from 'vitest';
import { deviation } from './compare.js';
import { inner, integers, normal, runF64, type Values, zeros } from './run-f64.js';

type Arrays = Record<string, Values>;

/** d loss / d inputs[name], element by element. */
function centralDifferences(inputs: Arrays, name: string, loss: (inputs: Arrays) => number): Float64Array {
  const h = 1e-5;
  const { shape, data } = inputs[name] as Values;
  return Float64Array.from(data, (x, i) => {
    const at = (value: number): number => {
      const moved = Float64Array.from(data);
      moved[i] = value;
      return loss({ ...inputs, [name]: { shape, data: moved } });
    };
    return (at(x + h) - at(x - h)) / (2 * h);
  });
}

function expectGradients(inputs: Arrays, loss: (inputs: Arrays) => number, gradients: Record<string, Float64Array | undefined>): void {
  for (const [name, gradient] of Object.entries(gradients)) {
    const numeric = centralDifferences(inputs, name, loss);
    expect(Math.max(...numeric.map(Math.abs)), `gradient of ${name} is not all zero`).toBeGreaterThan(1e-3);
    expect(deviation(gradient ?? [], numeric).normalised, `gradient of ${name}`).toBeLessThan(1e-8);
  }
}

const get = (result: Record<string, Float64Array>, name: string): Float64Array => {
  const array = result[name];
  if (!array) throw new Error(`no output ${name}`);
  return array;
};

describe('linear', () => {
  const [N, K, M, R] = [5, 7, 6, 3];
  const s = 1.7;
  const inputs = {
    x: normal([N, K], 1),
    weight: normal([M, K], 2),
    bias: normal([M], 3),
    a: normal([R, K], 4),
    b: normal([M, R], 5),
  };
  const dy = normal([N, M], 6);
  const low = (x: Values, a: Values): Values => ({
    shape: [N, R],
    data: get(runF64('linear_forward', { x, weight: a }, { y: [N, R] }), 'y'),
  });
  const loss = ({ x, weight, bias, a, b }: Arrays): number => {
    const args = { x, weight, bias, tailX: low(x as Values, a as Values), tailWeight: b, tailScale: s };
    return inner(get(runF64('linear_forward', args, { y: [N, M] }), 'y'), dy.data);
  };

  it('bias and low-rank tail: every operand', () => {
    const { x, weight, a, b } = inputs;
    // The scale is folded in once: by the op that consumes tail_dy.
    const tailDy: Values = { shape: [N, R], data: get(runF64('linear_backward_input', { dy, weight: b, dx: zeros(N, R) }), 'dx') };
    const dx = runF64('linear_backward_input', { dy, weight, tailDy, tailWeight: a, tailScale: s, dx: zeros(N, K) });
    const gradient = (dyOf: Values, xOf: Values, scale: number): Float64Array =>
      get(
        runF64('linear_backward_weight', { dy: dyOf, x: xOf, scale }, { dweight: [dyOf.shape[1] as number, xOf.shape[1] as number] }),
        'dweight',
      );
    expectGradients(inputs, loss, {
      x: get(dx, 'dx'),
      weight: gradient(dy, x, 1),
      bias: get(runF64('linear_backward_bias', { dy, dbias: zeros(M) }), 'dbias'),
      a: gradient(tailDy, x, s),
      b: gradient(dy, low(x, a), s),
    });
  });

  it('layers that share their input: its gradient is the sum', () => {
    const widths = [6, 4, 3];
    const dys = widths.map((m, i) => normal([N, m], 20 + i));
    const tailXs = widths.map((_, i) => normal([N, R], 30 + i));
    const weights = widths.map((m, i) => normal([m, K], 40 + i));
    const [tailWeight0, tailWeight1] = [normal([R, K], 50), normal([R, K], 51)];
    const forwardLoss = ({ x }: Arrays): number => {
      const layers = widths.flatMap((m, i) => [
        [`weight${i}`, weights[i]],
        [`tailX${i}`, tailXs[i]],
        [`tailWeight${i}`, normal([m, R], 60 + i)],
      ]);
      const shapes = Object.fromEntries(widths.map((m, i) => [`y${i}`, [N, m]]));
      const ys = runF64('linear_forward_shared', { x, ...Object.fromEntries(layers) }, shapes);
      return widths.reduce((sum, _, i) => sum + inner(get(ys, `y${i}`), (dys[i] as Values).data), 0);
    };
    const layers = widths.flatMap((_, i) => [
      [`dy${i}`, dys[i]],
      [`weight${i}`, weights[i]],
    ]);
    const plain = get(runF64('linear_backward_input_shared', Object.fromEntries(layers), { dx: [N, K] }), 'dx');
    expectGradients({ x: inputs.x }, forwardLoss, { x: plain });

    // Tails add their own product.
    const tails = { tailDy0: tailXs[0], tailWeight0, tailScale0: s, tailDy1: tailXs[1], tailWeight1, tailScale1: 0.5 };
    const tailed = get(runF64('linear_backward_input_shared', { ...Object.fromEntries(layers), ...tails }, { dx: [N, K] }), 'dx');
    const share = (i: number, weight: Values): Float64Array =>
      get(runF64('linear_backward_input', { dy: tailXs[i] as Values, weight, dx: zeros(N, K) }), 'dx');
    const [first, second] = [share(0, tailWeight0), share(1, tailWeight1)];
    const expected = plain.map((v, i) => v + s * (first[i] as number) + 0.5 * (second[i] as number));
    expect(deviation(tailed, expected).max).toBeLessThan(1e-13);
  });

  it('accumulate adds to what is there', () => {
    const { x, weight } = inputs;
    const before = normal([N, K], 7);
    const fresh = get(runF64('linear_backward_input', { dy, weight, dx: zeros(N, K) }), 'dx');
    const added = get(runF64('linear_backward_input', { dy, weight, dx: before, accumulate: 1 }), 'dx');
    expect(
      deviation(
        added,
        fresh.map((v, i) => v + (before.data[i] as number)),
      ).max,
    ).toBeLessThan(1e-14);
    const dw = normal([M, K], 8);
    const once = get(runF64('linear_backward_weight', { dy, x, dweight: zeros(M, K) }), 'dweight');
    const twice = get(runF64('linear_backward_weight', { dy, x, dweight: dw, accumulate: 1 }), 'dweight');
    expect(
      deviation(
        twice,
        once.map((v, i) => v + (dw.data[i] as number)),
      ).max,
    ).toBeLessThan(1e-14);
  });
});

describe('rms_norm', () => {
  it.each([0, 1])('weight offset %d, with a residual gradient', (weightOffset) => {
    const [N, C] = [4, 6];
    const inputs = { x: normal([N, C], 1, 2), weight: normal([C], 2) };
    const [dy, dresidual] = [normal([N, C], 3), normal([N, C], 4)];
    const forward = (a: Arrays): Record<string, Float64Array> =>
      runF64('rms_norm_forward', { ...a, eps: 1e-2, weightOffset }, { y: [N, C], rstd: [N] });
    const loss = (a: Arrays): number => inner(get(forward(a), 'y'), dy.data) + inner((a.x as Values).data, dresidual.data);
    const rstd: Values = { shape: [N], data: get(forward(inputs), 'rstd') };
    const args = { dy, ...inputs, rstd, dresidual, dweight: zeros(C), weightOffset };
    const { dx, dweight } = runF64('rms_norm_backward', args, { dx: [N, C] });
    expectGradients(inputs, loss, { x: dx, weight: dweight });
  });
});

it('rope: the inverse rotation', () => {
  const [N, heads, D, R] = [3, 2, 6, 2];
  const positions = integers(0, 5, 9);
  const angles = runF64('rope_table', { positions, invFreq: normal([R], 1) }, { cos: [N, R], sin: [N, R] });
  const tables = { cos: { shape: [N, R], data: get(angles, 'cos') }, sin: { shape: [N, R], data: get(angles, 'sin') }, heads };
  const inputs = { x: normal([N, heads * D], 2) };
  const dy = normal([N, heads * D], 3);
  const loss = ({ x }: Arrays): number => inner(get(runF64('rope_inplace', { x, ...tables }), 'x'), dy.data);
  expectGradients(inputs, loss, { x: runF64('rope_inplace', { x: dy, ...tables, inverse: 1 }).x });
});

describe('attention', () => {
  const one: [number[], number[]] = [
    [0, 6],
    [0, 6],
  ];
  const variants: [string, { cu?: [number[], number[]]; heads?: number; kvHeads?: number; window?: number; softcap?: number }][] = [
    ['one sequence', { cu: one }],
    ['grouped heads', { cu: one, heads: 4, kvHeads: 2 }],
    ['window', { cu: one, window: 3 }],
    ['softcap', { cu: one, softcap: 1.5 }],
    [
      'several sequences, more keys than queries',
      {
        cu: [
          [0, 3, 3, 7],
          [0, 5, 6, 10],
        ],
      },
    ],
    [
      'fewer keys than queries',
      {
        cu: [
          [0, 5],
          [0, 3],
        ],
      },
    ],
    [
      'everything',
      {
        cu: [
          [1, 4, 9],
          [0, 5, 11],
        ],
        heads: 4,
        kvHeads: 2,
        window: 4,
        softcap: 2,
      },
    ],
  ];
  it.each(variants)('%s', (_name, { cu = one, heads = 2, kvHeads = 1, window = 0, softcap = 0 }) => {
    const D = 4;
    const [N, Nk] = [(cu[0].at(-1) as number) + 1, (cu[1].at(-1) as number) + 1];
    const inputs = { q: normal([N, heads * D], 1), k: normal([Nk, kvHeads * D], 2), v: normal([Nk, kvHeads * D], 3) };
    const rest = { cuQ: integers(...cu[0]), cuK: integers(...cu[1]), heads, kvHeads, window, softcap, scale: 0.6 };
    const dout = normal([N, heads * D], 4);
    const forward = (a: Arrays): Record<string, Float64Array> =>
      runF64('attention_forward', { ...a, ...rest }, { o: [N, heads * D], lse: [N, heads] });
    const { o, lse } = forward(inputs);
    const saved = { o: { shape: [N, heads * D], data: o as Float64Array }, lse: { shape: [N, heads], data: lse as Float64Array } };
    const { dq, dk, dv } = runF64(
      'attention_backward',
      { dout, ...inputs, ...saved, ...rest },
      { dq: inputs.q.shape, dk: inputs.k.shape, dv: inputs.v.shape },
    );
    expectGradients(inputs, (a) => inner(get(forward(a), 'o'), dout.data), { q: dq, k: dk, v: dv });
  });
});

describe('gated_activation', () => {
  it.each([
    ['silu', 0],
    ['gelu_tanh', 1],
    ['gelu', 2],
  ] as const)('%s', (_name, kind) => {
    const shape = [4, 9];
    const inputs = { gate: normal(shape, 1, 2), up: normal(shape, 2) };
    const dy = normal(shape, 3);
    const loss = (a: Arrays): number => inner(get(runF64('gated_activation_forward', { ...a, kind }, { y: shape }), 'y'), dy.data);
    const { dgate, dup, y } = runF64('gated_activation_backward', { dy, ...inputs, kind }, { dgate: shape, dup: shape, y: shape });
    expectGradients(inputs, loss, { gate: dgate, up: dup });
    expect(y).toEqual(get(runF64('gated_activation_forward', { ...inputs, kind }, { y: shape }), 'y'));
  });
});

describe('linear_cross_entropy', () => {
  it.each([0, 2])('softcap %d', (softcap) => {
    const [N, V, C] = [6, 9, 5];
    const inputs = { h: normal([N, C], 1), weight: normal([V, C], 2) };
    const rest = { targets: integers(3, 0, -100, 8, 3, 5), weights: normal([N], 3), softcap };
    const loss = (a: Arrays): number => get(runF64('linear_cross_entropy', { ...a, ...rest, lossSum: zeros(1) }), 'lossSum')[0] as number;
    const { dh, dweight } = runF64('linear_cross_entropy', { ...inputs, ...rest, lossSum: zeros(1), dweight: zeros(V, C) }, { dh: [N, C] });
    expectGradients(inputs, loss, { h: dh, weight: dweight });
  });
});

it('embedding', () => {
  const ids = integers(2, 0, 2, 4);
  const inputs = { weight: normal([5, 3], 1) };
  const dy = normal([4, 3], 2);
  const loss = ({ weight }: Arrays): number =>
    inner(get(runF64('embedding_forward', { ids, weight, scale: 3 }, { y: [4, 3] }), 'y'), dy.data);
  expectGradients(inputs, loss, { weight: runF64('embedding_backward', { ids, dy, dweight: zeros(5, 3), scale: 3 }).dweight });
});

it('dropout: the same mask on the gradient', () => {
  const inputs = { x: normal([5, 8], 1) };
  const [dy, residual] = [normal([5, 8], 2), normal([5, 8], 3)];
  const loss = ({ x }: Arrays): number => inner(get(runF64('dropout', { x, residual, p: 0.4, seed: 12 }, { y: [5, 8] }), 'y'), dy.data);
  expectGradients(inputs, loss, { x: runF64('dropout', { x: dy, p: 0.4, seed: 12 }, { y: [5, 8] }).y });
});

it('scatter_rows is the transpose of gather_rows', () => {
  const index = integers(4, 0, 2);
  const [x, y] = [normal([6, 3], 1), normal([3, 3], 2)];
  const gathered = get(runF64('gather_rows', { x, index }, { y: [3, 3] }), 'y');
  const scattered = get(runF64('scatter_rows', { x: y, index }, { y: [6, 3] }), 'y');
  expect(inner(gathered, y.data)).toBeCloseTo(inner(x.data, scattered), 12);
});
