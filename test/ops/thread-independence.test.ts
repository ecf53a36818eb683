// Every cpu op gives the same bits on one, two and three threads.
import { afterAll, describe, expect, it } from 'vitest';
import { threads } from '../../lib/core/device.js';
import { registeredOps } from './registry.js';
import { caseData, runCase, sameBytes } from './run-case.js';
import { loadSuites } from './suite.js';

const suites = await loadSuites();
const ready = new Set(
  registeredOps()
    .filter((op) => op.cpu)
    .map((op) => op.name),
);
const before = threads();
afterAll(() => threads(before));

describe.each(suites.filter((s) => ready.has(s.op)))('$op', (suite) => {
  it.each(suite.cases)('$name', (c) => {
    const data = caseData(suite, c);
    threads(1);
    const one = runCase(suite, c, 'cpu', data);
    for (const count of [2, 3]) {
      threads(count);
      const many = runCase(suite, c, 'cpu', data);
      for (const [name, { bytes }] of Object.entries(one))
        expect(sameBytes(bytes, many[name]?.bytes ?? new Uint8Array()), `${name} on ${count} threads`).toBe(true);
    }
  });
});
