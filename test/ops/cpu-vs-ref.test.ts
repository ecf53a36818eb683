// The cpu kernels against the reference in float64: at most twice the error of naive loops in the same precision (compare.ts).
// Run for one instruction set at a time: NODE_FINETUNE_CPU; instruction-sets.test.ts runs the others.
import { describe, expect, it } from 'vitest';
import type { DType } from '../../lib/core/dtype.js';
import { native } from '../../lib/native/loader.js';
import { assertAccurate } from './compare.js';
import { registeredOps } from './registry.js';
import { caseData, runCase, runNaive } from './run-case.js';
import { loadSuites } from './suite.js';

const suites = await loadSuites();
const missing = registeredOps()
  .filter((op) => !op.cpu)
  .map((op) => op.name);
const instructionSet = native((a) => a.instructionSet());

describe.each(suites)(`$op on ${instructionSet}`, (suite) => {
  if (missing.includes(suite.op)) {
    it.skip(`${suite.op} has no cpu kernel yet (native/ops/ops.def)`, () => {});
    return;
  }
  it.each(suite.cases)('$name', (c) => {
    const pools = new Map<string, { dtype: DType; got: number[]; naive: number[]; reference: number[] }>();
    // The maxima of a handful of numbers say little: small cases are drawn again until there are enough, and a pool that
    // complains is enlarged before it is believed.
    for (let draw = 0, count = 0; ; draw++) {
      const data = caseData(suite, c, draw);
      const outputs = runCase(suite, c, 'cpu', data);
      const reference = runCase(suite, c, 'ref', data, { double: true });
      const naive = runNaive(suite, c, data);
      for (const [name, { dtype, values }] of Object.entries(outputs)) {
        const pool = pools.get(name) ?? { dtype, got: [], naive: [], reference: [] };
        pools.set(name, pool);
        for (const v of values) pool.got.push(v);
        for (const v of naive[name] ?? []) pool.naive.push(v);
        for (const v of reference[name]?.values ?? []) pool.reference.push(v);
        count += values.length;
      }
      expect(pools.size).toBeGreaterThan(0);
      const enough = (draws: number, values: number): boolean => draw + 1 >= draws || count >= values;
      if (!enough(8, 256)) continue;
      try {
        for (const [name, { dtype, got, naive, reference }] of pools)
          assertAccurate(name, suite.precision?.[name] ?? dtype, got, naive, reference);
        return;
      } catch (error) {
        if (enough(64, 4096)) throw error;
      }
    }
  });
});

it('no op lacks a cpu kernel', () => {
  expect(missing).toEqual([]);
});
