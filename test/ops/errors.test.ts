// Wrong arguments: a typed error that names the op and the argument, on every device, before anything is written.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { DType } from '../../lib/core/dtype.js';
import { mapFile, release } from '../../lib/core/memory.js';
import { Tensor } from '../../lib/core/tensor.js';
import { FinetuneError } from '../../lib/native/errors.js';
import { native } from '../../lib/native/loader.js';
import { TestContext } from './context.js';
import { wholeBlocks } from './quantized.js';
import { callOp, tensorFields } from './run-case.js';
import { encode } from './storage.js';
import { loadSuites, type OpCase, type OpSuite } from './suite.js';

function errorOf(f: () => void): FinetuneError {
  try {
    f();
  } catch (error) {
    expect(error).toBeInstanceOf(FinetuneError);
    return error as FinetuneError;
  }
  throw new Error('nothing was thrown');
}

/** The case of a suite with the most tensors, and none of them empty. */
function fullest(suite: OpSuite): OpCase {
  const tensors = (c: OpCase): number => Object.values(c.args).filter((a) => typeof a !== 'number').length;
  const whole = suite.cases.filter((c) => Object.values(c.args).every((a) => typeof a === 'number' || a.shape.every((d) => d > 0)));
  return whole.reduce((best, c) => (tensors(c) > tensors(best) ? c : best));
}

/** Arguments without memory: the checks of shapes and types run all the same. */
function dryArgs(c: OpCase): Record<string, Tensor | number> {
  return Object.fromEntries(
    Object.entries(c.args).map(([name, a]) => [name, typeof a === 'number' ? a : Tensor.dry(a.dtype, a.shape, name)]),
  );
}

const takesAnyType = new Set(['gather_rows x', 'scatter_rows x', 'index_copy x', 'pack_nf4 codes', 'pack_nf4 absmax']);
/** A shape by itself: nothing else depends on it. */
const takesAnyShape = new Set([
  'fill y',
  'random_fill y',
  'perturb weight',
  'sum_of_squares x',
  'row_squares x',
  'rope_inplace x',
  'sample_token logits',
  'low_rank_basis grad',
]);

describe.each(await loadSuites())('$op', (suite) => {
  const c = suite.cases.length > 0 ? fullest(suite) : undefined;
  const op = suite.op;
  const fields = tensorFields(op).filter((f) => c && f.key in c.args);
  const call = (args: Record<string, Tensor | number>): void => callOp(new TestContext('cpu', true), op, args);

  it('the case itself passes the checks', () => {
    call(dryArgs(c as OpCase));
  });
  it.each(fields.filter((f) => !takesAnyType.has(`${op} ${f.name}`)))('wrong type of $name', ({ key, name }) => {
    const args = dryArgs(c as OpCase);
    // Bytes in a state or a basis are codes.
    const wrong = /^state|^basis/.test(name) ? 'i32' : 'u8';
    const error = errorOf(() => call({ ...args, [key]: Tensor.dry(wrong, (args[key] as Tensor).shape, key) }));
    expect(error.code).toBe('ERR_DTYPE');
    expect(error.message).toContain(`[${op}] ${name} must be`);
    expect(error.message).toContain(`got ${wrong}`);
  });
  it.each(fields.filter((f) => !f.optional))('missing $name', ({ key, name }) => {
    const { [key]: _, ...args } = dryArgs(c as OpCase);
    const error = errorOf(() => call(args));
    expect(error.code).toBe('ERR_SHAPE');
    expect(error.message).toBe(`[${op}] ${name} is missing`);
  });
  it.each(fields.filter((f) => !takesAnyShape.has(`${op} ${f.name}`)))('wrong shape of $name', ({ key }) => {
    const args = dryArgs(c as OpCase);
    const { dtype, shape } = args[key] as Tensor;
    const wider = [...shape.slice(0, -1), (shape.at(-1) as number) + wholeBlocks(dtype, 32)];
    const error = errorOf(() => call({ ...args, [key]: Tensor.dry(dtype, wider, key) }));
    expect(error.code).toBe('ERR_SHAPE');
    expect(error.message).toMatch(new RegExp(`^\\[${op}\\] \\w+ .*must be`));
  });
});

const made: Tensor[] = [];
afterAll(() => {
  for (const t of made) t.dispose();
});
const t = (dtype: DType, shape: readonly number[], values?: ArrayLike<number>): Tensor => {
  const tensor = Tensor.allocate(dtype, shape, 'other');
  if (values) tensor.writeBytes(encode(dtype, values));
  made.push(tensor);
  return tensor;
};
const f = (...shape: number[]): Tensor => t('f32', shape);
const i = (...values: number[]): Tensor => t('i32', [values.length], values);

describe.each(['ref', 'cpu'] as const)('contents on %s', (device) => {
  const sgd = { learningRate: 0.1 };
  const lce = { h: f(2, 4), weight: f(5, 4), weights: f(2) };
  const heads = { q: f(3, 4), k: f(3, 4), v: f(3, 4) };
  const cases: [string, string, Record<string, Tensor | number>][] = [
    ['embedding_forward', 'ids must be in [0, 4], got 5 at position 1', { ids: i(0, 5), weight: f(5, 4), y: f(2, 4) }],
    ['embedding_forward', 'ids must be in [0, 4], got -1 at position 0', { ids: i(-1, 0), weight: f(5, 4), y: f(2, 4) }],
    ['embedding_backward', 'ids must be in [0, 4], got 7', { ids: i(0, 7), dy: f(2, 4), dweight: f(5, 4) }],
    ['embedding_update', 'ids must be in [0, 4], got 7', { ids: i(0, 7), dy: f(2, 4), weight: f(5, 4), ...sgd }],
    ['gather_rows', 'index must be in [0, 4], got 5', { x: f(5, 4), index: i(5), y: f(1, 4) }],
    ['scatter_rows', 'index must be in [0, 4], got 5', { x: f(1, 4), index: i(5), y: f(5, 4) }],
    ['index_copy', 'index must be in [0, 4], got -1', { x: f(1, 4), index: i(-1), y: f(5, 4) }],
    ['linear_cross_entropy', '4], got 5 at position 1', { ...lce, targets: i(-100, 5), lossSum: t('f64', [1]) }],
    ['linear_cross_entropy_update', '4], got 5 at position 1', { ...lce, targets: i(0, 5), lse: f(2), ...sgd }],
    [
      'linear_cross_entropy_update',
      'ids must be in [0, 4], got 9',
      { ...lce, targets: i(0, 1), lse: f(2), ids: i(9), embeddingDy: f(1, 4), ...sgd },
    ],
    ['attention_forward', 'cu_q must be in [2, 3], got 1', { ...heads, cuQ: i(0, 2, 1), cuK: i(0, 2, 3), o: f(3, 4) }],
    ['attention_forward', 'cu_k must be in [0, 3], got 4', { ...heads, cuQ: i(0, 3), cuK: i(0, 4), o: f(3, 4) }],
    [
      'attention_backward',
      'cu_q must be in [0, 3], got -1',
      { ...heads, dout: f(3, 4), o: f(3, 4), lse: f(3, 1), cuQ: i(-1, 3), cuK: i(0, 3), dq: f(3, 4), dk: f(3, 4), dv: f(3, 4) },
    ],
  ];
  it.each(cases)('%s: %s', (op, message, args) => {
    const error = errorOf(() => callOp(new TestContext(device), op, args));
    expect(error.code).toBe('ERR_SHAPE');
    expect(error.message).toContain(`[${op}]`);
    expect(error.message).toContain(message);
  });
  it.each([NaN, Infinity])('sample_token refuses logits with %s', (bad) => {
    const args = { logits: t('f32', [2, 3], [1, 2, 3, 4, bad, 5]), token: i(0, 0), temperature: 1 };
    const error = errorOf(() => callOp(new TestContext(device), 'sample_token', args));
    expect(error.code).toBe('ERR_NONFINITE_LOSS');
    expect(error.message).toMatch(/^\[sample_token\] .*logits/);
  });
});

describe('numbers', () => {
  const update = (args: Record<string, Tensor | number>) =>
    errorOf(() => callOp(new TestContext('ref'), 'optimizer_update', { weight: f(3), grad: f(3), ...args }));
  it.each([
    ['update_kind must be one of', { updateKind: 99 }],
    ['state0 must be given', { updateKind: 1 }],
    ['state1 must be given', { updateKind: 1, state0: f(3) }],
    ['step must be 1 or more', { step: 0 }],
    ['step must be an integer', { step: 1.5 }],
    ['learning_rate must be a finite number', { learningRate: NaN }],
    ['clip_value must be 0 or more', { clipValue: -1 }],
  ] as [string, Record<string, Tensor | number>][])('%s', (message, args) => {
    expect(update(args).message).toContain(`[optimizer_update] ${message}`);
  });
});

describe('memory', () => {
  const scale = (x: Tensor, y: Tensor): FinetuneError => errorOf(() => callOp(new TestContext('ref'), 'scale', { x, y }));

  it('a file map is read, never written', () => {
    const folder = mkdtempSync(join(tmpdir(), 'nft-'));
    const path = join(folder, 'weights');
    writeFileSync(path, encode('f32', [1, 2, 3, 4]));
    const segment = mapFile(path);
    try {
      const mapped = new Tensor(segment, 0, 'f32', [4], 'mapped');
      const y = f(4);
      callOp(new TestContext('ref'), 'scale', { x: mapped, y, scale: 2 });
      expect([...y.read()]).toEqual([2, 4, 6, 8]);
      const error = scale(f(4), mapped);
      expect(error.code).toBe('ERR_SHAPE');
      expect(error.message).toBe('[scale] y is written, but lies in a read-only file map');
      expect([...mapped.read()]).toEqual([1, 2, 3, 4]);
    } finally {
      release(segment);
      rmSync(folder, { recursive: true });
    }
  });
  it('released memory is not used again, even when its slot is', () => {
    const x = Tensor.allocate('f32', [4], 'other', 'x');
    const stale = new Tensor(x.segment, 0, 'f32', [4], 'stale');
    x.dispose();
    const next = f(4);
    expect(next.segment.id % 2 ** 20).toBe(x.segment.id % 2 ** 20);
    expect(scale(stale, next).code).toBe('ERR_DISPOSED');
    expect(errorOf(() => x.dispose()).code).toBe('ERR_DISPOSED');
    expect(scale(x, next).message).toContain('tensor x [4]');
  });
  it('a plan holds no data', () => {
    expect(scale(Tensor.dry('f32', [4]), f(4)).code).toBe('ERR_DISPOSED');
  });
  it.each([
    ['longer than its memory', [5], 0, 5],
    ['shifted past the end', [4], 4, 4],
    ['rows apart past the end', [2, 2], 0, 3],
    ['rows that overlap', [2, 2], 0, 1],
    ['a negative offset', [2], -4, 2],
    ['a fractional offset', [2], 0.5, 2],
    ['a negative size', [-2], 0, -2],
    ['sizes that overflow', [2 ** 33, 2 ** 33], 0, 2 ** 33],
    ['a stride that overflows', [2, 2], 0, 2 ** 52],
    ['too many dimensions', [1, 1, 1, 1, 4], 0, 4],
    ['NaN', [NaN], 0, 1],
  ] as [string, number[], number, number][])('a view %s', (_name, shape, offset, rowStride) => {
    const bad = new Tensor(f(4).segment, offset, 'f32', shape, 'bad', rowStride);
    const error = scale(bad, f(4));
    expect(error.code).toBe('ERR_SHAPE');
    expect(error.message).toContain('[scale] x');
  });
  it('a command list that is cut off', () => {
    for (const list of [
      [1, 0, 1],
      [1, 0, 1, 3, 0],
      [1, 0, 1, 2, 0, 0],
      [1, 0, 1, NaN, 0, 0, 0],
    ]) {
      const error = errorOf(() => native((a) => a.replay(Float64Array.from(list))));
      expect([error.code, error.message]).toEqual(['ERR_SHAPE', 'a command list is cut off']);
    }
  });
  it('a broken row of quantized blocks', () => {
    const error = errorOf(() => callOp(new TestContext('ref'), 'cast', { x: Tensor.dry('q8_0', [1, 33]), y: f(1, 33) }));
    expect(error.message).toContain('[cast] x has rows that are no multiple of its block of 32');
  });
});
