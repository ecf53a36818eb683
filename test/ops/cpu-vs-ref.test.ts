// The cpu kernels against the reference in float64: at most twice the error of naive loops in the same precision (compare.ts).
// Run for one instruction set at a time: NODE_FINETUNE_CPU; instruction-sets.test.ts runs the others.
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/native/loader.js';
import { complaint } from './compare.js';
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
    const data = caseData(suite, c);
    const outputs = runCase(suite, c, 'cpu', data);
    const reference = runCase(suite, c, 'ref', data, { double: true });
    const naive = runNaive(suite, c, data);
    for (const [name, { dtype, values }] of Object.entries(outputs))
      expect(complaint(dtype, values, naive[name] ?? [], reference[name]?.values ?? []), name).toBeUndefined();
  });
});

it('no op lacks a cpu kernel', () => {
  expect(missing).toEqual([]);
});
