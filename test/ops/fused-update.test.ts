// A fused update gives the same bits as the gradient into zeros followed by optimizer_update, on ref and cpu.
import { describe, expect, it } from 'vitest';
import type { DeviceName } from '../../lib/core/device.js';
import { type CaseData, caseData, type Output, runCase, sameBytes } from './run-case.js';
import { loadSuites, Matrix, type OpCase, type OpSuite, type TensorSpec, tensor } from './suite.js';

const suites = new Map((await loadSuites()).map((s) => [s.op, s]));

function suite(op: string): OpSuite {
  const found = suites.get(op);
  if (!found) throw new Error(`no cases of ${op}`);
  return found;
}

/** One case whose ops are run one after the other: what an op writes is what the next one reads. */
class Program {
  readonly data: CaseData;
  private readonly specs: Record<string, TensorSpec>;

  constructor(
    private readonly device: DeviceName,
    op: string,
    c: OpCase,
  ) {
    this.data = caseData(suite(op), c);
    this.specs = Object.fromEntries(Object.entries(c.args).filter((e): e is [string, TensorSpec] => typeof e[1] !== 'number'));
  }

  zeros(name: string, spec: TensorSpec): void {
    const elements = spec.shape.reduce((a, b) => a * b, 1);
    this.specs[name] = spec;
    this.data.inputs[name] = new Matrix(elements / (spec.shape.at(-1) ?? 1), spec.shape.at(-1) ?? 1);
    this.data.bytes[name] = new Uint8Array(elements * (spec.dtype === 'f64' ? 8 : 4));
  }

  /** Calls an op; `map` says which of the program's tensors each argument is, others go by their own name. */
  run(op: string, tensors: readonly string[], numbers: Record<string, number>, map: Record<string, string> = {}): Record<string, Output> {
    const source = (key: string): string => map[key] ?? key;
    const keys = tensors.filter((key) => this.specs[source(key)]);
    const pick = <T>(from: Record<string, T>): Record<string, T> =>
      Object.fromEntries(keys.filter((key) => source(key) in from).map((key) => [key, from[source(key)] as T]));
    const c: OpCase = { name: op, args: { ...pick(this.specs), ...numbers } };
    const data: CaseData = { numbers, bytes: pick(this.data.bytes), inputs: pick(this.data.inputs) };
    const outputs = runCase(suite(op), c, this.device, data, { double: this.device === 'ref' });
    for (const [key, { values, bytes }] of Object.entries(outputs)) {
      const old = this.data.inputs[source(key)] as Matrix;
      this.data.inputs[source(key)] = new Matrix(old.rows, old.cols, Float64Array.from(values));
      this.data.bytes[source(key)] = bytes;
    }
    return outputs;
  }
}

const updated = ['weight', 'state0', 'state1', 'absmax0', 'absmax1'];

function expectSame(separate: Record<string, Output>, fused: Record<string, Output>): void {
  expect(Object.keys(fused).sort()).toEqual(Object.keys(separate).sort());
  for (const [name, { bytes }] of Object.entries(separate))
    expect(sameBytes(bytes, fused[name]?.bytes ?? new Uint8Array()), name).toBe(true);
}

describe.each(['ref', 'cpu'] as const)('%s', (device) => {
  const weightShape = (c: OpCase): readonly number[] => (c.args.weight as TensorSpec).shape;

  describe('linear_backward_weight_update', () => {
    it.each(suite('linear_backward_weight_update').cases)('$name', (c) => {
      const p = new Program(device, 'linear_backward_weight_update', c);
      const { scale = 1, ...rule } = p.data.numbers;
      const fused = runFused(device, c, 'linear_backward_weight_update');
      p.zeros('dweight', tensor('f32', weightShape(c)));
      p.run('linear_backward_weight', ['dy', 'x', 'dweight'], { scale });
      expectSame(p.run('optimizer_update', [...updated, 'grad'], rule, { grad: 'dweight' }), fused);
    });
  });

  describe('embedding_update', () => {
    it.each(suite('embedding_update').cases)('$name', (c) => {
      const p = new Program(device, 'embedding_update', c);
      const { scale = 1, ...rule } = p.data.numbers;
      const fused = runFused(device, c, 'embedding_update');
      p.zeros('dweight', tensor('f32', weightShape(c)));
      p.run('embedding_backward', ['ids', 'dy', 'dweight'], { scale });
      expectSame(p.run('optimizer_update', [...updated, 'grad'], rule, { grad: 'dweight' }), fused);
    });
  });

  describe('linear_cross_entropy_update', () => {
    it.each(suite('linear_cross_entropy_update').cases)('$name', (c) => {
      const op = 'linear_cross_entropy_update';
      const p = new Program(device, op, c);
      const { softcap = 0, embeddingScale = 1, ...rule } = p.data.numbers;
      p.zeros('dweight', tensor('f32', weightShape(c)));
      p.zeros('lossSum', tensor('f64', [1]));
      p.run('linear_cross_entropy', ['h', 'weight', 'targets', 'weights', 'lossSum', 'dweight', 'lse', 'dlogits'], { softcap });
      // The fused op gets the lse that the loss has made, and dlogits in a case with them; the weight is still the old one.
      const again = new Program(device, op, c);
      for (const name of ['lse', ...(c.args.dlogits ? ['dlogits'] : [])]) {
        again.data.inputs[name] = p.data.inputs[name] as Matrix;
        again.data.bytes[name] = p.data.bytes[name] as Uint8Array;
      }
      const inputs = ['h', 'targets', 'weights', 'lse', 'ids', 'embeddingDy', 'dlogits'];
      const fused = again.run(op, [...updated, ...inputs], p.data.numbers);
      if (c.args.ids) p.run('embedding_backward', ['ids', 'dy', 'dweight'], { scale: embeddingScale }, { dy: 'embeddingDy' });
      expectSame(p.run('optimizer_update', [...updated, 'grad'], rule, { grad: 'dweight' }), fused);
    });
  });
});

function runFused(device: DeviceName, c: OpCase, op: string): Record<string, Output> {
  return runCase(suite(op), c, device, caseData(suite(op), c), { double: device === 'ref' });
}
