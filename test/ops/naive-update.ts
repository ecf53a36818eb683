// The optimizer update rules of native/updates/ as plain loops, shared by every op that updates a weight.

import type { DType } from '../../lib/core/dtype.js';
import { updateKinds } from '../../lib/native/ops.js';
import { counterBits16 } from './random.js';
import { roundTo, ulp } from './storage.js';
import { Matrix, type Numbers, type Round, type TensorSpec, tensor } from './suite.js';

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

/** update(weight, grad): new weight and states. The weight comes back rounded to its type. */
export function naiveUpdate(
  weight: Matrix,
  grad: Matrix,
  state0: Matrix | undefined,
  state1: Matrix | undefined,
  n: Numbers,
  weightType: DType | undefined,
  f: Round,
): Record<string, Matrix> {
  const learningRate = n.learningRate ?? 0;
  const decay = f(1 - learningRate * (n.weightDecay ?? 0));
  const clip = n.clipValue ?? 0;
  const [beta1, beta2, eps, step] = [n.hyper0 ?? 0, n.hyper1 ?? 0, n.hyper2 ?? 0, n.step ?? 1];
  const stepSize = f(learningRate / (1 - beta1 ** step));
  const invSqrtCorrection2 = f(1 / Math.sqrt(1 - beta2 ** step));
  const out = new Matrix(weight.rows, weight.cols);
  const m = state0 && new Matrix(weight.rows, weight.cols, state0.data.slice());
  const v = state1 && new Matrix(weight.rows, weight.cols, state1.data.slice());
  const kind = updateKinds[n.updateKind ?? 0];
  for (let i = 0; i < weight.data.length; i++) {
    let g = f(f(n.gradScale ?? 1) * grad.get(i));
    if (clip > 0) g = Math.min(Math.max(g, -f(clip)), f(clip));
    let w: number;
    if (kind === 'sgd') {
      w = f(f(weight.get(i) * decay) - f(f(learningRate) * g));
    } else if (kind === 'adamw' && m && v) {
      m.data[i] = f(m.get(i) + f(f(g - m.get(i)) * f(1 - beta1)));
      v.data[i] = f(f(v.get(i) * f(beta2)) + f(f(f(1 - beta2) * g) * g));
      const denominator = f(f(f(Math.sqrt(v.get(i))) * invSqrtCorrection2) + f(eps));
      w = f(f(weight.get(i) * decay) - f(f(stepSize * m.get(i)) / denominator));
    } else {
      throw new Error(`no naive version of update rule ${kind}`);
    }
    out.data[i] = n.stochasticRounding && weightType ? roundStochastic(weightType, w, counterBits16(n.seed ?? 0, i)) : w;
  }
  return { weight: out, ...(m ? { state0: m } : {}), ...(v ? { state1: v } : {}) };
}

/** Arguments of each rule for a weight of this shape: plain, and with everything on. */
export function updateVariants(
  shape: readonly number[],
  weightType: DType,
  stateType: DType,
): [string, Record<string, TensorSpec | number>][] {
  const common = { learningRate: 0.01, weightDecay: 0.1, gradScale: 0.5, clipValue: 0.75 };
  const states = {
    state0: tensor(stateType, shape, { scale: 0.1 }),
    state1: tensor(stateType, shape, { values: ({ state0 }) => (state0 as Matrix).data.map((x) => x * x + 0.01) }),
  };
  const adam = { updateKind: updateKinds.indexOf('adamw'), ...states, hyper0: 0.9, hyper1: 0.999, hyper2: 1e-8 };
  const rounding = weightType === 'bf16' || weightType === 'f16' ? { stochasticRounding: 1, seed: 9007199254740881 } : {};
  return [
    ['sgd', { updateKind: 0, learningRate: 0.05 }],
    ['sgd all options', { updateKind: 0, ...common, ...rounding }],
    ['adamw first step', { ...adam, learningRate: 0.001, step: 1 }],
    ['adamw all options', { ...adam, ...common, step: 117, ...rounding }],
  ];
}
