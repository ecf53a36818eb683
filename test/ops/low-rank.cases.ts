import type { DType } from '../../lib/core/dtype.js';
import { map, norm, product, transposed } from './matrices.js';
import { roundStochastic } from './naive-update.js';
import { counterBits, counterBits16, normalStream, seedOf } from './random.js';
import { type Inputs, Matrix, type Numbers, type OpCase, type OpSuite, type Round, tensor } from './suite.js';

interface Options {
  weight?: DType;
  state?: DType;
  isInt4?: boolean;
}

const group = 256;
const rounding = { stochasticRounding: 1, seed: 9007199254740881 };
const later = { learningRate: 0.01, weightDecay: 0.1, gradScale: 0.5, beta1: 0.9, beta2: 0.99, eps: 1e-6, step: 3 };

const sizes = (rows: number, cols: number, rank: number) => ({
  side: Math.min(rows, cols),
  isRight: rows >= cols,
  low: rows >= cols ? [rows, rank] : [rank, cols],
});

/** A basis of 4 bits: codes, and the scale and zero point of each group. */
function int4Specs(elements: number) {
  const groups = Math.ceil(elements / group);
  const codes = Array.from({ length: Math.ceil(elements / 2) }, (_, i) => (i * 37) % 256);
  const ranges = Array.from({ length: 2 * groups }, (_, i) => (i % 2 ? 7 + (i % 3) : 0.02 + 0.003 * i));
  return { basis: tensor('u8', [codes.length], { values: codes, keepType: true }), ranges: tensor('f32', [groups, 2], { values: ranges }) };
}

function decodeInt4(codes: Matrix, ranges: Matrix, rank: number, side: number, f: Round): Matrix {
  return map(new Matrix(rank, side), (_, i) => {
    const byte = codes.get(Math.floor(i / 2));
    const code = i % 2 ? Math.floor(byte / 16) : byte % 16;
    const at = 2 * Math.floor(i / group);
    return f(ranges.get(at) * (code - ranges.get(at + 1)));
  });
}

function encodeInt4(basis: Matrix, f: Round): { codes: Float64Array<ArrayBuffer>; ranges: Float64Array<ArrayBuffer> } {
  const codes = new Float64Array(Math.ceil(basis.data.length / 2));
  const ranges = new Float64Array(2 * Math.ceil(basis.data.length / group));
  const clamp = (x: number) => Math.min(15, Math.max(0, x));
  // Halves to even.
  const nearest = (x: number) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  for (let begin = 0; begin < basis.data.length; begin += group) {
    const block = basis.data.subarray(begin, begin + group);
    const [least, most] = [Math.min(...block), Math.max(...block)];
    const scale = f(Math.max(f(most - least), f(1e-5)) / 15);
    const zero = clamp(-nearest(f(least / scale)));
    ranges.set([scale, zero], (2 * begin) / group);
    block.forEach((x, i) => {
      const code = clamp(nearest(f(x / scale)) + zero);
      const at = (begin + i) >> 1;
      codes[at] = (codes[at] as number) + (i % 2 ? 16 * code : code);
    });
  }
  return { codes, ranges };
}

/** What the updates of a projected gradient have in common: R and the step of Adam, corrected. */
function adam(grad: Matrix, basis: Matrix, states: Inputs, n: Numbers, f: Round) {
  const isRight = grad.rows >= grad.cols;
  const raw = isRight ? product(grad, transposed(basis), f) : product(basis, grad, f);
  const low = map(raw, (x) => f(f(n.gradScale ?? 1) * x));
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-6, step = 1 } = n;
  const m = map(states.state0 as Matrix, (x, i) => f(x + f(f(low.get(i) - x) * f(1 - beta1))));
  const v = map(states.state1 as Matrix, (x, i) => f(f(x * f(beta2)) + f(f(f(1 - beta2) * low.get(i)) * low.get(i))));
  const correction = Math.sqrt(1 - beta2 ** step) / (1 - beta1 ** step);
  const update = map(m, (x, i) => f(f(f(correction) * x) / f(f(Math.sqrt(v.get(i))) + f(eps))));
  return { isRight, low, correction, update, states: { state0: m, state1: v } };
}

function stepped(w: Matrix, step: number, u: Matrix, n: Numbers, f: Round, type: DType): Matrix {
  const decay = f(1 - f((n.learningRate ?? 0) * (n.weightDecay ?? 0)));
  return map(w, (x, i) => {
    const value = f(f(x - f(f(step) * u.get(i))) * decay);
    return n.stochasticRounding ? roundStochastic(type, value, counterBits16(n.seed ?? 0, i)) : value;
  });
}

function stateSpecs(rows: number, cols: number, rank: number, state: DType) {
  const { low } = sizes(rows, cols, rank);
  const elements = (low[0] as number) * (low[1] as number);
  const positive = Float64Array.from({ length: elements }, (_, i) => 0.01 * (1 + Math.sin(i) ** 2));
  return { state0: tensor(state, low, { scale: 0.1 }), state1: tensor(state, low, { values: positive }) };
}

function galore(rows: number, cols: number, rank: number, numbers: Numbers, name: string, options: Options = {}): OpCase {
  const { weight = 'f32', state = 'f32', isInt4 } = options;
  const { side } = sizes(rows, cols, rank);
  const basis = isInt4 ? int4Specs(rank * side) : { basis: tensor('f32', [rank, side], { scale: 1 / Math.sqrt(side) }) };
  return {
    name: `${name} [${rows}, ${cols}] rank ${rank} ${weight}`,
    args: {
      weight: tensor(weight, [rows, cols], { scale: 0.05, keepType: 'stochasticRounding' in numbers }),
      grad: tensor('f32', [rows, cols], { scale: 0.1 }),
      ...basis,
      ...stateSpecs(rows, cols, rank, state),
      ...numbers,
      rank,
    },
  };
}

function apollo(rows: number, cols: number, rank: number, numbers: Numbers, before: number, options: Options = {}): OpCase {
  const { weight = 'f32', state = 'f32' } = options;
  return {
    name: `${numbers.tensorWise ? 'by tensor' : 'by channel'} [${rows}, ${cols}] rank ${rank} ${weight}, norm before ${before}`,
    args: {
      weight: tensor(weight, [rows, cols], { scale: 0.05, keepType: 'stochasticRounding' in numbers }),
      grad: tensor('f32', [rows, cols], { scale: 0.1 }),
      previous: tensor('f32', [1], { values: [before] }),
      ...stateSpecs(rows, cols, rank, state),
      ...numbers,
      rank,
      basisSeed: 4503599627370495,
    },
  };
}

/** Normal number i of a key: random_fill of native/ops/elementwise.h. */
function counterNormal(key: number, i: number): number {
  const bits = counterBits(key, i);
  const u = (Number(bits >> 40n) + 1) / 2 ** 24;
  const v = Number((bits >> 16n) & 0xffffffn) / 2 ** 24;
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
}

/** A matrix of `terms` directions whose strengths fall by 0.6 each: its singular values lie well apart. */
function decaying(rows: number, cols: number, terms: number): Float64Array {
  const normal = normalStream(seedOf(`${rows} ${cols} ${terms}`));
  const values = new Float64Array(rows * cols);
  for (let t = 0; t < terms; t++) {
    const u = Array.from({ length: rows }, normal);
    const v = Array.from({ length: cols }, normal);
    for (let i = 0; i < values.length; i++)
      values[i] = (values[i] as number) + 0.6 ** t * (u[Math.floor(i / cols)] as number) * (v[i % cols] as number);
  }
  return values;
}

interface BasisOptions {
  terms?: number;
  isInt4?: boolean;
  schedule?: number[];
}

function basisCase(rows: number, cols: number, rank: number, numbers: Numbers, name: string, options: BasisOptions = {}): OpCase {
  const { side } = sizes(rows, cols, rank);
  const { terms = side, isInt4, schedule } = options;
  const leading = Array.from({ length: side }, (_, i) => (i < 2 ? Math.SQRT1_2 : 0));
  return {
    name: `${name} [${rows}, ${cols}] rank ${rank}`,
    args: {
      grad: tensor('f32', [rows, cols], { values: decaying(rows, cols, terms) }),
      ...(isInt4 ? int4Specs(rank * side) : { basis: tensor('f32', [rank, side]) }),
      ...(schedule && { schedule: tensor('f32', [7], { values: schedule }), leading: tensor('f32', [side], { values: leading }) }),
      ...numbers,
      rank,
    },
  };
}

/** Eigenvectors of a symmetric matrix as rows, in descending order: classical rotations of one pair after the other (Jacobi 1846). */
function eigenvectors(symmetric: Matrix, f: Round): Matrix {
  const n = symmetric.rows;
  const s = map(symmetric, (x) => x);
  const v = map(s, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  const rotate = (m: Matrix, at: (k: number, row: number) => [number, number], p: number, q: number, c: number, t: number) => {
    for (let k = 0; k < n; k++) {
      const [x, y] = [m.at(...at(k, p)), m.at(...at(k, q))];
      m.set(...at(k, p), f(f(c * x) - f(t * y)));
      m.set(...at(k, q), f(f(t * x) + f(c * y)));
    }
  };
  for (let sweep = 0; sweep < 30; sweep++)
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        if (s.at(p, q) === 0) continue;
        const angle = 0.5 * Math.atan2(2 * s.at(p, q), s.at(q, q) - s.at(p, p));
        const [c, t] = [f(Math.cos(angle)), f(Math.sin(angle))];
        rotate(s, (k, row) => [row, k], p, q, c, t);
        rotate(s, (k, row) => [k, row], p, q, c, t);
        rotate(v, (k, row) => [row, k], p, q, c, t);
      }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => s.at(j, j) - s.at(i, i));
  return map(v, (_, i) => v.at(order[Math.floor(i / n)] as number, i % n));
}

export const suites: OpSuite[] = [
  {
    op: 'low_rank_basis',
    cases: [
      basisCase(9, 5, 1, {}, 'right'),
      basisCase(6, 17, 4, {}, 'left'),
      basisCase(7, 7, 7, {}, 'whole'),
      basisCase(5, 9, 2, { step: 5, gap: 3, phase: 2 }, 'due'),
      basisCase(5, 9, 2, { step: 5, gap: 3, phase: 1 }, 'not due'),
      basisCase(40, 53, 4, { seed: 9007199254740881 }, 'by random directions', { terms: 8 }),
      basisCase(61, 37, 5, { seed: 7 }, 'by random directions', { terms: 8 }),
      basisCase(6, 80, 5, { gap: 3 }, 'in 4 bits', { isInt4: true, schedule: [0, 0, 0, 0, 0, 0, 0] }),
      basisCase(9, 12, 3, { step: 7, gap: 3 }, 'adaptive, first similarity', { schedule: [6, 0, 0, 0, 0, 0, 0] }),
      basisCase(9, 12, 3, { step: 7, gap: 3 }, 'adaptive, doubled', { schedule: [6, 5, 0.9, 0.8, 0.9, 1, 0.7] }),
      basisCase(9, 12, 3, { step: 6, gap: 3 }, 'adaptive, not due', { schedule: [6, 5, 0.9, 0.8, 0.9, 1, 0.7] }),
    ],
    bench: [basisCase(1536, 576, 128, { seed: 7 }, 'by random directions', { terms: 4 })],
    naive({ grad, basis, ranges, schedule, leading }, n, f, types) {
      const before = basis as Matrix;
      const g = grad as Matrix;
      const { rank = 1, step = 1, gap = 1, phase = 0 } = n;
      const rest = { ...(ranges && { ranges }), ...(schedule && { schedule, leading: leading as Matrix }) };
      if (step !== 1 && (step - 1 + phase) % (schedule?.get(0) || gap) !== 0) return { basis: before, ...rest };
      const x = g.rows >= g.cols ? transposed(g) : g;
      const vectors = eigenvectors(product(x, transposed(x), f), f);
      const made = map(new Matrix(rank, x.rows), (_, i) => {
        const row = Array.from({ length: x.rows }, (_, j) => vectors.at(Math.floor(i / x.rows), j));
        const largest = row.reduce((most, v) => (Math.abs(v) > Math.abs(most) ? v : most), 0);
        return Math.sign(largest) * (row[i % x.rows] as number);
      });
      const results: Record<string, Matrix> = { basis: made };
      if (schedule && leading) {
        const first = made.data.slice(0, x.rows);
        const [every = 0, count = 0, ...queue] = schedule.data;
        const cosine = first.reduce((sum, v, i) => f(sum + f(v * leading.get(i))), 0) / norm(first, f) / norm(leading.data, f);
        const all = every > 0 ? [...queue.slice(count === 5 ? 1 : 0, count), f(cosine)] : [];
        const doubles = all.length === 5 && all.reduce((a, b) => a + b) / 5 >= 0.4;
        const next = [every === 0 ? gap : doubles ? 2 * every : every, all.length, ...all, 0, 0, 0, 0, 0].slice(0, 7);
        results.schedule = new Matrix(1, 7, Float64Array.from(next));
        results.leading = new Matrix(1, x.rows, first);
      }
      if (types.basis?.dtype === 'u8') {
        const { codes, ranges: made4 } = encodeInt4(made, f);
        results.basis = new Matrix(1, codes.length, codes);
        results.ranges = new Matrix(made4.length / 2, 2, made4);
      }
      return results;
    },
  },
  {
    op: 'galore_update',
    cases: [
      galore(1, 1, 1, later, 'one'),
      galore(37, 29, 5, later, 'right'),
      galore(29, 130, 7, later, 'left'),
      galore(40, 40, 40, { ...later, scale: 2 }, 'whole'),
      galore(23, 61, 4, { ...later, ...rounding }, 'stochastic', { weight: 'bf16', state: 'bf16' }),
      galore(300, 70, 9, { ...later, scale: 0.25 }, 'strips', { weight: 'f16' }),
      galore(33, 70, 16, later, 'in 4 bits', { isInt4: true }),
    ],
    bench: [galore(1536, 576, 128, later, 'right'), galore(576, 1536, 128, later, 'left, in 4 bits', { isInt4: true })],
    naive({ weight, grad, basis, ranges, ...states }, n, f, types) {
      const [w, g] = [weight as Matrix, grad as Matrix];
      const side = Math.min(g.rows, g.cols);
      const p = types.basis?.dtype === 'u8' ? decodeInt4(basis as Matrix, ranges as Matrix, n.rank ?? 1, side, f) : (basis as Matrix);
      const { isRight, update, states: moved } = adam(g, p, states, n, f);
      const u = isRight ? product(update, p, f) : product(transposed(p), update, f);
      const step = (n.learningRate ?? 0) * (n.scale ?? 1);
      return { weight: stepped(w, step, u, n, f, types.weight?.dtype ?? 'f32'), ...moved };
    },
  },
  {
    op: 'apollo_update',
    cases: [
      apollo(1, 1, 1, later, 0),
      apollo(37, 29, 5, { ...later, scale: 4 }, 0),
      apollo(29, 130, 7, later, 0.1),
      apollo(40, 33, 1, { ...later, tensorWise: 1, scale: 128 }, 0.1),
      apollo(33, 70, 1, { ...later, tensorWise: 1 }, 1000),
      apollo(23, 61, 4, { ...later, ...rounding }, 2, { weight: 'bf16', state: 'bf16' }),
      apollo(3, 17000, 2, later, 0, { weight: 'f16' }),
    ],
    bench: [apollo(1536, 576, 256, later, 0), apollo(1536, 576, 1, { ...later, tensorWise: 1 }, 0)],
    naive({ weight, grad, previous, ...states }, n, f, types) {
      const [w, g] = [weight as Matrix, grad as Matrix];
      const { rank = 1, basisSeed = 0, tensorWise = 0, scale = 1, gradScale = 1 } = n;
      const basis = map(new Matrix(rank, Math.min(g.rows, g.cols)), (_, i) => f(counterNormal(basisSeed, i) / Math.sqrt(rank)));
      const { isRight, low, correction, update, states: moved } = adam(g, basis, states, n, f);
      const along = (m: Matrix, k: number): number[] => {
        if (tensorWise) return Array.from(m.data);
        return Array.from({ length: rank }, (_, r) => (isRight ? m.at(k, r) : m.at(r, k)));
      };
      const count = tensorWise ? 1 : Math.max(g.rows, g.cols);
      const factors = Array.from({ length: count }, (_, k) => {
        const adamNorm = f(norm(along(update, k), f) / f(correction));
        return f(adamNorm / f(norm(along(low, k), f) + f(1e-8)));
      });
      const u = map(g, (x, i) => {
        const k = tensorWise ? 0 : isRight ? Math.floor(i / g.cols) : i % g.cols;
        return f(f(f(gradScale) * x) * (factors[k] as number));
      });
      const size = norm(u.data, f);
      const before = (previous as Matrix).get(0);
      const limit = before > 0 ? f(Math.max(f(size / f(before + f(1e-8))), f(1.01)) / f(1.01)) : 1;
      const step = f(f(f((n.learningRate ?? 0) * correction) * f(Math.sqrt(scale))) / limit);
      const kept = new Matrix(1, 1, Float64Array.of(f(size / limit)));
      return { weight: stepped(w, step, u, n, f, types.weight?.dtype ?? 'f32'), previous: kept, ...moved };
    },
  },
];
