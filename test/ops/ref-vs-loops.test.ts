// The reference kernels against a second, independent transcription of the equations, both in float64.
import { describe, expect, it } from 'vitest';
import { deviation } from './compare.js';
import { registeredOps } from './registry.js';
import { caseData, runCase, runNaive } from './run-case.js';
import { loadSuites } from './suite.js';

const suites = await loadSuites();

it('every op of ops.def has a case list and a ref kernel', () => {
  expect(suites.map((s) => s.op).sort()).toEqual(
    registeredOps()
      .map((op) => op.name)
      .sort(),
  );
  expect(registeredOps().filter((op) => !op.ref)).toEqual([]);
});

describe.each(suites)('$op', (suite) => {
  it.each(suite.cases)('$name', (c) => {
    const data = caseData(suite, c);
    const outputs = runCase(suite, c, 'ref', data, { double: true });
    const expected = runNaive(suite, c, data, true);
    for (const [name, { dtype, values }] of Object.entries(outputs)) {
      const { normalised } = deviation(values, expected[name] ?? []);
      expect(normalised, name).toBeLessThanOrEqual(dtype === 'f64' ? 1e-12 : 0);
    }
  });
});
