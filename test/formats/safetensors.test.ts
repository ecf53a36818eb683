import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tensor } from '../../lib/core/tensor.js';
import { SafetensorsSource } from '../../lib/formats/safetensors.js';
import { writeSafetensors, writeSafetensorsSharded } from '../../lib/formats/safetensors-writer.js';
import { FinetuneError } from '../../lib/native/errors.js';
import { hasShared, sharedPath } from '../shared.js';
import { safetensorsBytes } from './safetensors-bytes.js';
import { errorOf, expectRefused, fileIn, temporaryFolder } from './temporary.js';

const folder = temporaryFolder();
const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({ dtype, shape, data_offsets: [begin, end] });
const f32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

describe('a safetensors file', () => {
  it('gives views of the mapped bytes', () => {
    const header = {
      __metadata__: { format: 'pt' },
      b: entry('F32', [2, 2], 8, 24),
      a: entry('F16', [4], 0, 8),
      s: entry('F32', [], 24, 28),
    };
    const json = JSON.stringify(header);
    const padded = json.padEnd(Math.ceil(json.length / 8) * 8);
    const path = fileIn(folder, 'good.safetensors', safetensorsBytes(padded, Buffer.concat([Buffer.alloc(8), f32(1, 2, 3, 4), f32(5)])));
    const source = SafetensorsSource.openFile(path);
    expect(source.names().sort()).toEqual(['a', 'b', 's']);
    expect(source.info('b')).toEqual({ dtype: 'f32', shape: [2, 2], file: path, isCopied: false });
    expect([...source.tensor('b').read()]).toEqual([1, 2, 3, 4]);
    expect([...source.tensor('s').read()]).toEqual([5]);
    expect(source.tensor('b')).toBe(source.tensor('b'));
    expect(source.privateBytes()).toBe(0);
    expect(source.metadata).toEqual({ format: 'pt' });
    const view = source.tensor('b');
    source.close();
    expect(errorOf(() => view.read()).code).toBe('ERR_DISPOSED');
  });

  it('copies what is misaligned for its type, and counts the copy', () => {
    const header = JSON.stringify({ a: entry('F32', [3], 0, 12) });
    const odd = header.padEnd(Math.ceil(header.length / 4) * 4 + 1);
    const source = SafetensorsSource.openFile(fileIn(folder, 'odd.safetensors', safetensorsBytes(odd, f32(1, -2, 3))));
    expect([...source.tensor('a').read()]).toEqual([1, -2, 3]);
    expect(source.privateBytes()).toBe(12);
    source.close();
  });

  it('refuses types without a counterpart only when they are asked for', () => {
    const bytes = safetensorsBytes({ ids: entry('I64', [1], 0, 8), w: entry('F32', [1], 8, 12) }, Buffer.alloc(12));
    const path = fileIn(folder, 'i64.safetensors', bytes);
    const source = SafetensorsSource.openFile(path);
    expect(source.info('w').dtype).toBe('f32');
    expectRefused(() => source.tensor('ids'), 'ERR_MODEL_UNSUPPORTED', path, /"ids" is stored as I64.*BF16/);
    expectRefused(() => source.tensor('wte'), 'ERR_MODEL_CORRUPT', path, /no tensor "wte"/);
    source.close();
  });

  it('may be a symbolic link', () => {
    const path = fileIn(folder, 'target.safetensors', safetensorsBytes({ w: entry('F32', [1], 0, 4) }, f32(7)));
    symlinkSync(path, join(folder, 'link.safetensors'));
    const source = SafetensorsSource.openFile(join(folder, 'link.safetensors'));
    expect(source.tensor('w').read()[0]).toBe(7);
    source.close();
  });

  const two = Buffer.alloc(8);
  const hostile: [string, Uint8Array, RegExp][] = [
    ['empty', Buffer.alloc(0), /is empty/],
    ['shorter than its length', Buffer.alloc(5), /5 bytes.*at least 8/],
    ['of length 0', safetensorsBytes(''), /is empty, a JSON object/],
    ['with a header length of 2^63', safetensorsBytes('{}', two, 2n ** 63n), /9223372036854775808 bytes long, at most 100000000/],
    ['with a header length of 2^64 - 1', safetensorsBytes('{}', two, 2n ** 64n - 1n), /at most 100000000/],
    ['with a header longer than the file', safetensorsBytes('{}', two, 90_000_000n), /truncated/],
    ['that is no JSON', safetensorsBytes('{"a":', two), /not valid JSON/],
    ['that is no UTF-8', safetensorsBytes('{}', two, 4n).fill(0xff, 8), /UTF-8/],
    ['that is an array', safetensorsBytes('[]'), /object was expected/],
    ['that nests deeply', safetensorsBytes('['.repeat(100_000)), /nests deeper than 4/],
    [
      'with a tensor twice',
      safetensorsBytes(`{"a":${JSON.stringify(entry('F32', [1], 0, 4))},"\\u0061":${JSON.stringify(entry('F32', [1], 4, 8))}}`, two),
      /"a" occurs twice/,
    ],
    ['with an unknown dtype', safetensorsBytes({ a: entry('F33', [2], 0, 8) }, two), /unknown dtype "F33"/],
    ['with a dtype from the prototype', safetensorsBytes({ a: entry('constructor', [2], 0, 8) }, two), /unknown dtype/],
    ['with a negative size', safetensorsBytes({ a: entry('F32', [-2], 0, 8) }, two), /shape \[-2\]/],
    ['with a fractional size', safetensorsBytes({ a: entry('F32', [1.5], 0, 8) }, two), /shape \[1.5\]/],
    [
      'with a size of 2^63',
      safetensorsBytes(`{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}}`, two),
      /non-negative integers/,
    ],
    ['with sizes that overflow', safetensorsBytes({ a: entry('F32', [2 ** 40, 2 ** 40], 0, 8) }, two), /no valid byte count/],
    ['with a shape of text', safetensorsBytes({ a: entry('F32', ['2'], 0, 8) }, two), /shape/],
    ['with offsets backwards', safetensorsBytes({ a: entry('F32', [2], 8, 0) }, two), /hold -8/],
    ['with negative offsets', safetensorsBytes({ a: entry('F32', [2], -8, 0) }, two), /data_offsets \[-8,0\]/],
    ['with three offsets', safetensorsBytes({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 4, 8] } }, two), /two non-negative/],
    ['with a byte range that does not fit the shape', safetensorsBytes({ a: entry('F32', [3], 0, 8) }, two), /takes 12 bytes.*hold 8/],
    ['with a tensor past the end', safetensorsBytes({ a: entry('F32', [4], 0, 16) }, two), /truncated/],
    ['with overlapping tensors', safetensorsBytes({ a: entry('F32', [2], 0, 8), b: entry('F32', [1], 4, 8) }, two), /overlaps/],
    ['with a hole', safetensorsBytes({ a: entry('F32', [1], 4, 8) }, two), /hole of 4 bytes/],
    ['with bytes that belong to nothing', safetensorsBytes({ a: entry('F32', [1], 0, 4) }, two), /4 bytes at the end/],
    ['with metadata that is no text', safetensorsBytes({ __metadata__: { a: 1 } }), /__metadata__/],
  ];
  it.each(hostile)('%s is refused', (name, bytes, says) => {
    const path = fileIn(folder, `${name.replaceAll(/\W/g, '-')}.safetensors`, bytes);
    expectRefused(() => SafetensorsSource.openFile(path), 'ERR_MODEL_CORRUPT', path, says);
  });

  it('that is missing, or a folder, is refused', () => {
    mkdirSync(join(folder, 'dir.safetensors'));
    expectRefused(() => SafetensorsSource.openFile(join(folder, 'dir.safetensors')), 'ERR_FILE', 'dir.safetensors', /no regular file/);
    expectRefused(() => SafetensorsSource.openFile(join(folder, 'none.safetensors')), 'ERR_FILE', 'none.safetensors', /no such file/);
  });

  const small = safetensorsBytes(
    { __metadata__: { format: 'pt' }, a: entry('F32', [2, 2], 0, 16), b: entry('BF16', [4], 16, 24) },
    Buffer.alloc(24, 1),
  );
  const opensOrRefuses = (bytes: Uint8Array): void => {
    const path = fileIn(folder, 'mutant.safetensors', bytes);
    let source: SafetensorsSource | undefined;
    try {
      source = SafetensorsSource.openFile(path);
      for (const name of source.names()) source.tensor(name).readBytes();
    } catch (error) {
      expect(error).toBeInstanceOf(FinetuneError);
      expect((error as FinetuneError).code).toMatch(/^ERR_(MODEL_CORRUPT|MODEL_UNSUPPORTED|FILE)$/);
    } finally {
      source?.close();
    }
  };

  it('cut anywhere is refused', () => {
    for (let length = 0; length < small.length; length++) {
      const path = fileIn(folder, 'cut.safetensors', small.subarray(0, length));
      expect(errorOf(() => SafetensorsSource.openFile(path)).code).toBe('ERR_MODEL_CORRUPT');
    }
  });

  it('with any bytes changed opens or is refused, and never crashes', () => {
    const change = fc.record({ at: fc.nat(small.length - 1), byte: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Buffer.from(small);
        for (const { at, byte } of changes) bytes[at] = byte;
        opensOrRefuses(bytes);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a sharded index', () => {
  const shard = safetensorsBytes({ w: entry('F32', [1], 0, 4) }, f32(3));
  const index = (map: unknown): string => JSON.stringify({ metadata: { total_size: 4 }, weight_map: map });
  const refusals: [string, string, string, RegExp][] = [
    ['names a shard that is absent', index({ w: 'absent.safetensors' }), 'ERR_FILE', /absent.safetensors.*no such file/],
    [
      'names a tensor that is not in its shard',
      index({ v: 's.safetensors' }),
      'ERR_MODEL_CORRUPT',
      /"v" is in s.safetensors, but it is not/,
    ],
    ['leaves the folder', index({ w: '../s.safetensors' }), 'ERR_MODEL_CORRUPT', /same folder/],
    ['leaves the folder by an absolute path', index({ w: '/s.safetensors' }), 'ERR_MODEL_CORRUPT', /same folder/],
    ['leaves the folder with backslashes', index({ w: '..\\s.safetensors' }), 'ERR_MODEL_CORRUPT', /same folder/],
    ['names itself', index({ w: 'model.safetensors.index.json' }), 'ERR_MODEL_CORRUPT', /same folder/],
    ['maps to a number', index({ w: 1 }), 'ERR_MODEL_CORRUPT', /same folder/],
    ['has no map', '{}', 'ERR_MODEL_CORRUPT', /weight_map/],
    ['has a tensor twice', '{"weight_map":{"w":"s.safetensors","w":"s.safetensors"}}', 'ERR_MODEL_CORRUPT', /occurs twice/],
    ['is no JSON', 'x', 'ERR_MODEL_CORRUPT', /not valid JSON/],
  ];
  it.each(refusals)('that %s is refused', (_, text, code, says) => {
    fileIn(folder, 's.safetensors', shard);
    const path = fileIn(folder, 'model.safetensors.index.json', text);
    expectRefused(() => SafetensorsSource.openIndex(path), code, folder, says);
  });
});

describe('the safetensors writer', () => {
  const tensors = () => [
    { name: 'small', tensor: Tensor.from('u8', [3], [1, 2, 3]) },
    { name: 'wide', tensor: Tensor.from('f32', [2, 3], [1, 2, 3, 4, 5, 6.5]) },
    { name: 'again', tensor: Tensor.from('f32', [2], [0.1, -1e30]) },
  ];

  it('round-trips, wide types first so that everything is aligned', () => {
    const path = join(folder, 'written.safetensors');
    writeSafetensors(path, tensors());
    const source = SafetensorsSource.openFile(path);
    expect(source.metadata).toEqual({ format: 'pt' });
    for (const { name, tensor } of tensors()) expect([...source.tensor(name).read()]).toEqual([...tensor.read()]);
    expect(source.privateBytes()).toBe(0);
    source.close();
  });

  it('converts, packs strided rows and makes lazy tensors one at a time', () => {
    const path = join(folder, 'converted.safetensors');
    const base = Tensor.from('f32', [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
    let alive = 0;
    let most = 0;
    const lazy = (value: number) => ({
      dtype: 'f32' as const,
      shape: [2],
      make: () => {
        most = Math.max(most, ++alive);
        return Tensor.from('f32', [2], [value, value]);
      },
      release: (t: Tensor) => {
        alive--;
        t.dispose();
      },
    });
    writeSafetensors(path, [
      { name: 'part', tensor: base.columns(1, 3) },
      { name: 'bf16', tensor: base, dtype: 'bf16' },
      { name: 'lazy.0', tensor: lazy(1) },
      { name: 'lazy.1', tensor: lazy(2) },
    ]);
    const source = SafetensorsSource.openFile(path);
    expect([...source.tensor('part').read()]).toEqual([2, 3, 6, 7]);
    expect(source.info('bf16').dtype).toBe('bf16');
    expect(Buffer.from(source.tensor('bf16').readBytes()).readUInt16LE(0)).toBe(0x3f80);
    expect([...source.tensor('lazy.1').read()]).toEqual([2, 2]);
    expect([alive, most]).toEqual([0, 1]);
    source.close();
  });

  it('cuts into shards with an index', () => {
    const sub = join(folder, 'sharded');
    mkdirSync(sub);
    const files = writeSafetensorsSharded(join(sub, 'model.safetensors'), tensors(), { maxShardBytes: 24 });
    expect(files).toEqual([
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    const index = JSON.parse(readFileSync(join(sub, 'model.safetensors.index.json'), 'utf8'));
    expect(index.metadata.total_size).toBe(3 + 24 + 8);
    const source = SafetensorsSource.openIndex(join(sub, 'model.safetensors.index.json'));
    for (const { name, tensor } of tensors()) expect([...source.tensor(name).read()]).toEqual([...tensor.read()]);
    source.close();
  });

  it('refuses a name given twice', () => {
    const t = Tensor.from('f32', [1], [1]);
    expect(
      errorOf(() =>
        writeSafetensors(join(folder, 'x.safetensors'), [
          { name: 'a', tensor: t },
          { name: 'a', tensor: t },
        ]),
      ).code,
    ).toBe('ERR_INTERNAL');
  });
});

describe.skipIf(!hasShared)('real files', () => {
  it('stories260K: written again, the file has the same tensors bit for bit', () => {
    const original = SafetensorsSource.openFile(sharedPath('models', 'stories260K', 'model.safetensors'));
    const path = join(folder, 'stories.safetensors');
    writeSafetensors(
      path,
      original.names().map((name) => ({ name, tensor: original.tensor(name) })),
    );
    const copy = SafetensorsSource.openFile(path);
    expect(copy.names().sort()).toEqual(original.names().sort());
    for (const name of copy.names()) expect(Buffer.compare(copy.tensor(name).readBytes(), original.tensor(name).readBytes()), name).toBe(0);
    copy.close();
    original.close();
  });

  it('the bf16 shards hold the upper halves of the f32 weights, rounded', () => {
    const f32s = SafetensorsSource.openFile(sharedPath('models', 'stories260K', 'model.safetensors'));
    const shards = SafetensorsSource.openIndex(
      sharedPath('models', 'stories260K-variants', 'llama-bf16-sharded', 'model.safetensors.index.json'),
    );
    expect(shards.files()).toHaveLength(3);
    const path = join(folder, 'bf16.safetensors');
    writeSafetensors(
      path,
      f32s.names().map((name) => ({ name, tensor: f32s.tensor(name), dtype: 'bf16' as const })),
    );
    const ours = SafetensorsSource.openFile(path);
    for (const name of shards.names()) expect(Buffer.compare(ours.tensor(name).readBytes(), shards.tensor(name).readBytes()), name).toBe(0);
    for (const s of [f32s, shards, ours]) s.close();
  });
});
