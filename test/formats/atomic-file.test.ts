import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { assertOutputFolder, writeFileAtomic, writeFolderAtomic } from '../../lib/formats/atomic-file.js';
import { expectRefused, fileIn, temporaryFolder } from './temporary.js';

const folder = temporaryFolder();
const fresh = (name: string): string => {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
};

it('a failing writer leaves the old file and no other', () => {
  const at = fresh('file');
  const path = fileIn(at, 'a.txt', 'old');
  const fail = () =>
    writeFileAtomic(path, (sink) => {
      sink.write(Buffer.from('half'));
      throw new RangeError('stop');
    });
  expect(fail).toThrow(RangeError);
  expect(readdirSync(at)).toEqual(['a.txt']);
  expect(readFileSync(path, 'utf8')).toBe('old');
  writeFileAtomic(path, 'new');
  expect([readdirSync(at), readFileSync(path, 'utf8')]).toEqual([['a.txt'], 'new']);
});

it('a failing folder leaves nothing', () => {
  const at = fresh('folder');
  const fail = () =>
    writeFolderAtomic(join(at, 'out'), {}, (temporary) => {
      writeFileAtomic(join(temporary, 'a.txt'), 'x');
      throw new RangeError('stop');
    });
  expect(fail).toThrow(RangeError);
  expect(readdirSync(at)).toEqual([]);
});

it('a failing folder leaves an existing one as it was', () => {
  const at = fresh('existing');
  const out = join(at, 'out');
  mkdirSync(out);
  writeFileSync(join(out, 'a.txt'), 'old');
  const fail = () =>
    writeFolderAtomic(out, { overwrite: true, isStale: () => true }, (temporary) => {
      writeFileAtomic(join(temporary, 'a.txt'), 'new');
      throw new RangeError('stop');
    });
  expect(fail).toThrow(RangeError);
  expect([readdirSync(at), readFileSync(join(out, 'a.txt'), 'utf8')]).toEqual([['out'], 'old']);
});

it('a folder appears with its parents, and replaces an empty one', () => {
  const at = fresh('parents');
  const out = join(at, 'x', 'y');
  writeFolderAtomic(out, {}, (temporary) => writeFileAtomic(join(temporary, 'a.txt'), '1'));
  expect(readdirSync(out)).toEqual(['a.txt']);
  const empty = join(at, 'empty');
  mkdirSync(empty);
  writeFolderAtomic(empty, {}, (temporary) => writeFileAtomic(join(temporary, 'a.txt'), '1'));
  expect(readdirSync(at).sort()).toEqual(['empty', 'x']);
});

it('overwriting replaces, removes what is stale, keeps the rest', () => {
  const at = fresh('stale');
  for (const name of ['a.txt', 'old-1', 'mine']) fileIn(at, name, 'old');
  writeFolderAtomic(at, { overwrite: true, isStale: (f) => f.startsWith('old') }, (temporary) =>
    writeFileAtomic(join(temporary, 'a.txt'), 'new'),
  );
  expect(readdirSync(at).sort()).toEqual(['a.txt', 'mine']);
  expect(readFileSync(join(at, 'a.txt'), 'utf8')).toBe('new');
});

it('an output that is occupied, a file, or below a file is refused by name', () => {
  const at = fresh('refused');
  const file = fileIn(at, 'file', 'x');
  expectRefused(() => assertOutputFolder(at), 'ERR_FILE', at, /not empty.*overwrit/);
  expectRefused(() => assertOutputFolder(file, true), 'ERR_FILE', file, /is a file/);
  expectRefused(() => writeFolderAtomic(join(file, 'out'), {}, () => {}), 'ERR_FILE', join(file, 'out'), /part of the path is a file/);
  expectRefused(() => writeFileAtomic(join(at, 'none', 'a.txt'), 'x'), 'ERR_FILE', join(at, 'none', 'a.txt'), /no such file or folder/);
  expect(() => assertOutputFolder(join(at, 'none'))).not.toThrow();
});
