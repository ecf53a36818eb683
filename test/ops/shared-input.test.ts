// Layers that share their input give the same bits in one product as each in its own.
import { describe, expect, it } from 'vitest';
import { suites as linearSuites } from './linear.cases.js';
import { caseData, runCase, sameBytes } from './run-case.js';
import type { OpCase, OpSuite } from './suite.js';

const suite = (op: string): OpSuite => linearSuites.find((s) => s.op === op) as OpSuite;
const [shared, single] = [suite('linear_forward_shared'), suite('linear_forward')];
const keys = ['weight', 'bias', 'tailX', 'tailWeight', 'tailScale', 'y'];

describe('linear_forward_shared', () => {
  it.each(shared.cases)('$name', (c) => {
    const data = caseData(shared, c);
    const together = runCase(shared, c, 'cpu', data);
    for (const i of [0, 1, 2].filter((n) => c.args[`weight${n}`] !== undefined)) {
      const pick = <T>(from: Record<string, T>): Record<string, T> =>
        Object.fromEntries(keys.flatMap((key) => (`${key}${i}` in from ? [[key, from[`${key}${i}`] as T]] : [])));
      const alone: OpCase = { name: `${c.name} layer ${i}`, args: { x: c.args.x as never, ...pick(c.args) } };
      const { y } = runCase(single, alone, 'cpu', {
        numbers: pick(data.numbers),
        bytes: { x: data.bytes.x as Uint8Array, ...pick(data.bytes) },
        inputs: { x: data.inputs.x as never, ...pick(data.inputs) },
      });
      expect(sameBytes(together[`y${i}`]?.bytes as Uint8Array, y?.bytes as Uint8Array), `layer ${i}`).toBe(true);
    }
  });
});
