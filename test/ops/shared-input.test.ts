// Products that are made together give the same bits as each in its own.
import { describe, expect, it } from 'vitest';
import { suites as linearSuites } from './linear.cases.js';
import { suites as gradientSuites } from './linear-gradients.cases.js';
import { caseData, runCase, sameBytes } from './run-case.js';
import type { OpCase, OpSuite } from './suite.js';

const suite = (op: string): OpSuite => [...linearSuites, ...gradientSuites].find((s) => s.op === op) as OpSuite;

/** An op of several layers, whose arguments have the layer's number as a suffix, and the op of one: shared and own arguments, and output. */
const layered = [
  {
    together: 'linear_forward_shared',
    alone: 'linear_forward',
    output: 'y',
    own: ['weight', 'bias', 'tailX', 'tailWeight', 'tailScale', 'y'],
  },
  {
    together: 'linear_backward_weight_shared',
    alone: 'linear_backward_weight',
    output: 'dweight',
    own: ['dy', 'dweight', 'scale', 'accumulate'],
  },
];

describe.each(layered)('$together', ({ together, alone, output, own }) => {
  const shared = suite(together);
  it.each(shared.cases)('$name', (c) => {
    const data = caseData(shared, c);
    const made = runCase(shared, c, 'cpu', data);
    for (const i of [0, 1, 2].filter((n) => c.args[`${output}${n}`] !== undefined)) {
      const pick = <T>(from: Record<string, T>): Record<string, T> =>
        Object.fromEntries(own.flatMap((key) => (`${key}${i}` in from ? [[key, from[`${key}${i}`] as T]] : [])));
      const single: OpCase = { name: `${c.name} layer ${i}`, args: { x: c.args.x as never, ...pick(c.args) } };
      const apart = runCase(suite(alone), single, 'cpu', {
        numbers: pick(data.numbers),
        bytes: { x: data.bytes.x as Uint8Array, ...pick(data.bytes) },
        inputs: { x: data.inputs.x as never, ...pick(data.inputs) },
      });
      expect(sameBytes(made[`${output}${i}`]?.bytes as Uint8Array, apart[output]?.bytes as Uint8Array), `layer ${i}`).toBe(true);
    }
  });
});

describe('linear_backward', () => {
  const both = suite('linear_backward');
  it.each(both.cases)('$name', (c) => {
    const data = caseData(both, c);
    const made = runCase(both, c, 'cpu', data);
    for (const [op, output, keys] of [
      ['linear_backward_input', 'dx', ['dy', 'weight', 'dx']],
      ['linear_backward_weight', 'dweight', ['dy', 'x', 'dweight', 'scale', 'accumulate']],
    ] as const) {
      const pick = <T>(from: Record<string, T>): Record<string, T> =>
        Object.fromEntries(keys.flatMap((key) => (key in from ? [[key, from[key] as T]] : [])));
      const single: OpCase = { name: c.name, args: pick(c.args) };
      const apart = runCase(suite(op), single, 'cpu', { numbers: pick(data.numbers), bytes: pick(data.bytes), inputs: pick(data.inputs) });
      expect(sameBytes(made[output]?.bytes as Uint8Array, apart[output]?.bytes as Uint8Array), output).toBe(true);
    }
  });
});
