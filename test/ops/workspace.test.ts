// Workspace queries: known from shapes alone, the same in a plan and in a run, and never smaller for more tokens.
import { describe, expect, it } from 'vitest';
import { Tensor } from '../../lib/core/tensor.js';
import { native } from '../../lib/native/loader.js';
import { TestContext } from './context.js';
import { callOp } from './run-case.js';
import { loadSuites, type OpCase } from './suite.js';

/** Bytes an op asks for when its arguments are only planned. */
function plannedBytes(op: string, c: OpCase, tokens?: number): number {
  const context = new TestContext('cpu', true);
  const rowsBefore = tokens === undefined ? undefined : tokenRows(c);
  const resize = (shape: readonly number[]): readonly number[] =>
    tokens !== undefined && shape[0] === rowsBefore ? [tokens, ...shape.slice(1)] : shape;
  const args = Object.entries(c.args).map(([name, a]) => [name, typeof a === 'number' ? a : Tensor.dry(a.dtype, resize(a.shape), name)]);
  callOp(context, op, Object.fromEntries(args) as Record<string, Tensor | number>);
  return context.workspaceBytes;
}

/** Rows of the argument that counts tokens, or the rows of a matrix. */
function tokenRows(c: OpCase): number {
  for (const name of tokenArguments) {
    const a = c.args[name];
    if (a !== undefined && typeof a !== 'number') return a.shape[0] as number;
  }
  throw new Error(`${c.name} has no tokens`);
}

const withWorkspace = new Set(
  native((a) => a.describe())
    .ops.filter((op) => op.workspace)
    .map((op) => op.name),
);
const suites = (await loadSuites()).filter((s) => withWorkspace.has(s.op));
const tokenArguments = ['x', 'h', 'dy', 'dy0', 'ids', 'q', 'dout', 'logits', 'p', 'grad'];
/** Their sizes are those of a weight. */
const withoutTokens = new Set(['low_rank_basis', 'galore_update', 'apollo_update']);
// Any two numbers of tokens may be compared: sizes around tiles and a few large ones.
const tokenCounts = [
  1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 511, 513, 1000, 1025, 2047, 4097, 16384,
];

describe.each(suites.filter(({ op }) => !withoutTokens.has(op)))('$op', (suite) => {
  it.each(suite.bench ?? [])('grows with the tokens: $name', (c) => {
    const bytes = tokenCounts.map((n) => plannedBytes(suite.op, c, n));
    for (let i = 1; i < bytes.length; i++)
      expect(bytes[i], `${tokenCounts[i]} tokens after ${tokenCounts[i - 1]}`).toBeGreaterThanOrEqual(bytes[i - 1] as number);
  });
});

describe.each(suites)('$op', (suite) => {
  it('asks for the same in a plan and in a run', () => {
    for (const c of suite.cases) {
      const aliased = Object.values(c.args).some((a) => typeof a !== 'number' && (a.alias || a.dtype === 'i32'));
      if (aliased) continue; // needs contents; runCase covers it
      const context = new TestContext('cpu');
      const args = Object.entries(c.args).map(([name, a]) => [
        name,
        typeof a === 'number' ? a : Tensor.allocate(a.dtype, a.shape, 'other'),
      ]);
      try {
        callOp(context, suite.op, Object.fromEntries(args) as Record<string, Tensor | number>);
        expect(context.workspaceBytes, c.name).toBe(plannedBytes(suite.op, c));
      } finally {
        for (const [, t] of args) if (t instanceof Tensor) t.dispose();
      }
    }
  });
});
