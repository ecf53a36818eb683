// The optimizer update rules of native/updates/ as plain loops, shared by every op that updates a weight.

import type { DType } from '../../lib/core/dtype.js';
import { type UpdateKind, updateKinds } from '../../lib/native/ops.js';
import { readJson } from '../parity/fixture.js';
import { counterBits16 } from './random.js';
import { roundTo, ulp } from './storage.js';
import { type Inputs, Matrix, type Numbers, type Round, type TensorSpec, type Types, tensor } from './suite.js';

/** Rounds x up with probability = the discarded fraction; 16 random bits decide. */
export function roundStochastic(dtype: DType, x: number, random16: number): number {
  if (dtype !== 'bf16' && dtype !== 'f16') return roundTo(dtype, x);
  const f = Math.fround(x);
  if (!Number.isFinite(f)) return f;
  const step = ulp(dtype, f);
  const magnitude = Math.abs(f) / step;
  const whole = Math.floor(magnitude);
  // The kernel adds the random bits to the bits that fall away: 16 for bf16, 13 for f16.
  const random = dtype === 'bf16' ? random16 / 65536 : Math.floor(random16 / 8) / 8192;
  return Math.sign(f) * (whole + (magnitude - whole + random >= 1 ? 1 : 0)) * step;
}

/** One element: i, its weight and gradient; the rule changes states m and v at i and returns the new weight. */
interface Element {
  i: number;
  w: number;
  g: number;
  /** 1 - rate * weight decay. */
  decay: number;
  rate: number;
  n: Numbers;
  f: Round;
  m: Matrix | undefined;
  v: Matrix | undefined;
}

const sign = (x: number): number => (x > 0 ? 1 : x < 0 ? -1 : x);

const rules: Record<UpdateKind, (element: Element) => number> = {
  sgd: ({ w, g, decay, rate, f }) => f(f(w * decay) - f(rate * g)),
  adamw({ i, w, g, decay, n, f, ...states }) {
    const [m, v] = [states.m as Matrix, states.v as Matrix];
    const [beta1, beta2, eps, step] = [n.hyper0 ?? 0, n.hyper1 ?? 0, n.hyper2 ?? 0, n.step ?? 1];
    const stepSize = f((n.learningRate ?? 0) / (1 - beta1 ** step));
    const invSqrtCorrection2 = f(1 / Math.sqrt(1 - beta2 ** step));
    m.data[i] = f(m.get(i) + f(f(g - m.get(i)) * f(1 - beta1)));
    v.data[i] = f(f(v.get(i) * f(beta2)) + f(f(f(1 - beta2) * g) * g));
    const denominator = f(f(f(Math.sqrt(v.get(i))) * invSqrtCorrection2) + f(eps));
    return f(f(w * decay) - f(f(stepSize * m.get(i)) / denominator));
  },
  momentum({ i, w, g, decay, rate, n, f, ...states }) {
    const m = states.m as Matrix;
    const momentum = f(n.hyper0 ?? 0);
    m.data[i] = f(f(momentum * m.get(i)) + g);
    const d = n.hyper1 ? f(g + f(momentum * m.get(i))) : m.get(i);
    return f(f(w * decay) - f(rate * d));
  },
  signsgd: ({ w, g, decay, rate, f }) => f(f(w * decay) - f(rate * sign(g))),
  signum({ i, w, g, decay, rate, n, f, ...states }) {
    const m = states.m as Matrix;
    const momentum = n.hyper0 ?? 0;
    m.data[i] = f(f(f(momentum) * m.get(i)) + f(f(1 - momentum) * g));
    return f(f(w * decay) - f(rate * sign(m.get(i))));
  },
  lion({ i, w, g, decay, rate, n, f, ...states }) {
    const m = states.m as Matrix;
    const [beta1, beta2] = [n.hyper0 ?? 0, n.hyper1 ?? 0];
    const direction = sign(f(f(f(beta1) * m.get(i)) + f(f(1 - beta1) * g)));
    m.data[i] = f(f(f(beta2) * m.get(i)) + f(f(1 - beta2) * g));
    return f(f(w * decay) - f(rate * direction));
  },
};

/** The values of bitsandbytes' dynamic maps, ascending (scripts/fixtures/make_state_codes.py). */
export const stateCodes = readJson<Record<'signed' | 'unsigned' | 'signed4' | 'unsigned4', number[]>>(
  import.meta.dirname,
  '..',
  'fixtures',
  'optimizers',
  'codes.json',
);

/** How a state is stored in codes: arXiv 2110.02861 in 8 bits, 2309.01507 in 4, where the first of two codes takes the upper half. */
interface Coding {
  bits: number;
  block: number;
  /** Of the states state0 and state1. */
  values: readonly (readonly number[])[];
}

const codings: Record<number, Coding> = {
  8: { bits: 8, block: 256, values: [stateCodes.signed, stateCodes.unsigned] },
  4: { bits: 4, block: 128, values: [stateCodes.signed4, stateCodes.unsigned4] },
};

const unpack = ({ bits }: Coding, bytes: Float64Array<ArrayBuffer>, elements: number): Float64Array<ArrayBuffer> =>
  bits === 8 ? bytes.slice() : Float64Array.from({ length: elements }, (_, i) => ((bytes[i >> 1] as number) >> (i % 2 ? 0 : 4)) & 15);

const pack = ({ bits }: Coding, codes: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> =>
  bits === 8
    ? codes
    : Float64Array.from({ length: Math.ceil(codes.length / 2) }, (_, i) => 16 * (codes[2 * i] as number) + (codes[2 * i + 1] ?? 0));

/** Code of the value nearest to x. */
function nearestCode(codes: readonly number[], x: number): number {
  let best = 0;
  codes.forEach((c, i) => {
    if (Math.abs(c - x) < Math.abs((codes[best] as number) - x)) best = i;
  });
  return best;
}

/** A state as values of a weight, and back as what is stored: itself, or codes and the largest magnitude of each block. */
class State {
  readonly values: Matrix;
  private readonly coding: Coding | undefined;
  private readonly index: 0 | 1;

  constructor(stored: Matrix, absmax: Matrix | undefined, coding: Coding | undefined, index: 0 | 1, weight: Matrix, f: Round) {
    this.coding = coding;
    this.index = index;
    const decode = ({ values, block }: Coding) =>
      unpack(coding as Coding, stored.data, weight.data.length).map((code, i) =>
        f((values[index]?.[code] as number) * (absmax as Matrix).get(Math.floor(i / block))),
      );
    this.values = new Matrix(weight.rows, weight.cols, coding ? decode(coding) : stored.data.slice());
  }

  stored(name: string, f: Round): Record<string, Matrix> {
    const { values, coding, index } = this;
    if (!coding) return { [name]: values };
    const { data } = values;
    const { block } = coding;
    const codes = coding.values[index] as readonly number[];
    const zero = Math.max(0, codes.indexOf(0));
    const blocks = Array.from({ length: Math.ceil(data.length / block) }, (_, b) => data.subarray(b * block, (b + 1) * block));
    const largest = blocks.map((b) => b.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
    const coded = data.map((x, i) => {
      const most = largest[Math.floor(i / block)] as number;
      const code = most === 0 ? zero : nearestCode(codes, f(x / most));
      // In 8 bits what is negative keeps its sign, as in bitsandbytes.
      return coding.bits === 8 && x < 0 && code === zero ? code - 1 : code;
    });
    const packed = pack(coding, coded);
    return {
      [name]: coding.bits === 8 ? new Matrix(values.rows, values.cols, packed) : new Matrix(1, packed.length, packed),
      [`absmax${index}`]: new Matrix(1, largest.length, Float64Array.from(largest)),
    };
  }
}

/** update(weight, grad): new weight and states. The weight comes back rounded to its type. */
export function naiveUpdate(inputs: Inputs, grad: Matrix, n: Numbers, types: Types, f: Round): Record<string, Matrix> {
  const weight = inputs.weight as Matrix;
  const weightType = types.weight?.dtype;
  const state = (index: 0 | 1) => {
    const stored = inputs[`state${index}`];
    const coding = types[`state${index}`]?.dtype === 'u8' ? codings[n.stateBits ?? 8] : undefined;
    return stored && new State(stored, inputs[`absmax${index}`], coding, index, weight, f);
  };
  const [state0, state1] = [state(0), state(1)];
  const learningRate = n.learningRate ?? 0;
  const decay = f(1 - learningRate * (n.weightDecay ?? 0));
  const clip = n.clipValue ?? 0;
  const rule = rules[updateKinds[n.updateKind ?? 0] as UpdateKind];
  const out = new Matrix(weight.rows, weight.cols);
  for (let i = 0; i < weight.data.length; i++) {
    let g = f(f(n.gradScale ?? 1) * grad.get(i));
    if (clip > 0) g = Math.min(Math.max(g, -f(clip)), f(clip));
    const w = rule({ w: weight.get(i), g, decay, rate: f(learningRate), n, f, m: state0?.values, v: state1?.values, i });
    out.data[i] = n.stochasticRounding && weightType ? roundStochastic(weightType, w, counterBits16(n.seed ?? 0, i)) : w;
  }
  return { weight: out, ...state0?.stored('state0', f), ...state1?.stored('state1', f) };
}

/** States that are stored in codes, for a weight of this shape. */
function codedStates(shape: readonly number[], coding: Coding): Record<string, TensorSpec> {
  const { bits, block } = coding;
  const elements = shape.reduce((a, b) => a * b, 1);
  const blocks = Math.ceil(elements / block);
  const magnitudes = Float64Array.from({ length: blocks }, (_, b) => (b % 5 === 3 ? 0 : 0.1 * (1 + (b % 7))));
  const codes = (seed: number) => {
    const some = Float64Array.from({ length: elements }, (_, i) => (i * 37 + ((i * i) >> 5) + seed) % 2 ** bits);
    const values = pack(coding, some);
    return tensor('u8', bits === 8 ? shape : [values.length], { values, keepType: true });
  };
  return {
    state0: codes(1),
    state1: codes(2),
    absmax0: tensor('f32', [blocks], { values: magnitudes }),
    absmax1: tensor('f32', [blocks], { values: magnitudes.map((x) => x * x) }),
  };
}

/** Two rules with 8-bit states, and with 4-bit ones. */
function codedVariants(shape: readonly number[], weightType: DType): [string, Record<string, TensorSpec | number>][] {
  const common = { learningRate: 0.01, weightDecay: 0.1, gradScale: 0.5, ...roundingOf(weightType) };
  return Object.values(codings).flatMap((coding): [string, Record<string, TensorSpec | number>][] => {
    const two = { ...codedStates(shape, coding), stateBits: coding.bits };
    const { state1: _state1, absmax1: _absmax1, ...one } = two as Record<string, TensorSpec | number>;
    return [
      [`adamw ${coding.bits}-bit`, { ...kind('adamw'), ...two, ...common, hyper0: 0.9, hyper1: 0.999, hyper2: 1e-8, step: 117 }],
      [`lion ${coding.bits}-bit`, { ...kind('lion'), ...one, ...common, hyper0: 0.9, hyper1: 0.99 }],
    ];
  });
}

const kind = (name: UpdateKind) => ({ updateKind: updateKinds.indexOf(name) });
const roundingOf = (weightType: DType) =>
  weightType === 'bf16' || weightType === 'f16' ? { stochasticRounding: 1, seed: 9007199254740881 } : {};

/** Arguments of each rule for a weight of this shape: plain, and with everything on. State type u8: states in codes. */
export function updateVariants(
  shape: readonly number[],
  weightType: DType,
  stateType: DType,
): [string, Record<string, TensorSpec | number>][] {
  if (stateType === 'u8') return codedVariants(shape, weightType);
  const common = { learningRate: 0.01, weightDecay: 0.1, gradScale: 0.5, clipValue: 0.75 };
  const states = {
    state0: tensor(stateType, shape, { scale: 0.1 }),
    state1: tensor(stateType, shape, { values: ({ state0 }) => (state0 as Matrix).data.map((x) => x * x + 0.01) }),
  };
  const { state0 } = states;
  const adam = { ...kind('adamw'), ...states, hyper0: 0.9, hyper1: 0.999, hyper2: 1e-8 };
  const rounding = roundingOf(weightType);
  return [
    ['sgd', { ...kind('sgd'), learningRate: 0.05 }],
    ['sgd all options', { ...kind('sgd'), ...common, ...rounding }],
    ['adamw first step', { ...adam, learningRate: 0.001, step: 1 }],
    ['adamw all options', { ...adam, ...common, step: 117, ...rounding }],
    ['momentum', { ...kind('momentum'), state0, ...common, hyper0: 0.9, ...rounding }],
    ['nesterov', { ...kind('momentum'), state0, ...common, hyper0: 0.9, hyper1: 1, ...rounding }],
    ['signsgd', { ...kind('signsgd'), ...common, ...rounding }],
    ['signum', { ...kind('signum'), state0, ...common, hyper0: 0.9, ...rounding }],
    ['lion', { ...kind('lion'), state0, ...common, hyper0: 0.9, hyper1: 0.99, ...rounding }],
  ];
}
