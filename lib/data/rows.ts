import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import { FinetuneError } from '../native/errors.js';

/** One row as it was read, and where it stands, for messages: `data.jsonl:17`, `data.json[16]`. */
export interface RawRow {
  value: unknown;
  where: string;
  /** Counted from 0, blank lines left out. */
  row: number;
}

/** How rows are stored: JSON lines, one JSON array, a continuous text, or values handed over by the program. */
export type Container = 'jsonl' | 'json' | 'plain' | 'values';

export interface RowSource {
  /** File name without folders, or `data` for values. */
  name: string;
  container: Container;
  rows: AsyncIterable<RawRow>;
}

export type DataSource = string | URL | Iterable<unknown> | AsyncIterable<unknown>;

/** Larger rows are refused before they fill the memory (a file without line breaks, a gzip bomb). */
const maxLineBytes = 2 ** 28;
/** A JSON array or a plain text is read whole; JavaScript strings end at 2^29. */
const maxWholeBytes = 2 ** 29 - 2 ** 20;

const newline = 0x0a;

/** The path of a data file, or undefined for rows handed over as values. Throws ERR_FILE for a URL that is no file. */
export function dataPath(source: DataSource): string | undefined {
  if (typeof source === 'string') return source;
  if (!(source instanceof URL)) return undefined;
  if (source.protocol === 'file:') return fileURLToPath(source);
  throw new FinetuneError('ERR_FILE', `Cannot read ${source.href}: only files on this machine are read. Download it first.`);
}

/** Opens data without reading more of it than its first bytes. */
export async function openRows(source: DataSource): Promise<RowSource> {
  const path = dataPath(source);
  if (path === undefined)
    return { name: 'data', container: 'values', rows: valueRows(source as Iterable<unknown> | AsyncIterable<unknown>) };
  const name = basename(path);
  const container = await chooseContainer(path);
  if (container === 'plain') return { name, container, rows: plainText(path) };
  return { name, container, rows: container === 'json' ? arrayRows(path) : lineRows(path) };
}

/** The file's bytes, unpacked if its name ends in .gz. */
async function* readBytes(path: string): AsyncGenerator<Buffer> {
  try {
    const file = createReadStream(path);
    if (!path.endsWith('.gz')) {
      yield* file as AsyncIterable<Buffer>;
      return;
    }
    const unpacked = createGunzip();
    file.on('error', (error) => unpacked.destroy(error));
    try {
      yield* file.pipe(unpacked) as AsyncIterable<Buffer>;
    } finally {
      file.destroy();
    }
  } catch (error) {
    throw fileError(path, error);
  }
}

function fileError(path: string, error: unknown): FinetuneError {
  if (error instanceof FinetuneError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code?.startsWith('Z_')) {
    return new FinetuneError('ERR_DATA_INVALID', `${path} is not a whole gzip file: ${message}.`, { path }, error);
  }
  const reason = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder; name a file in it' : message;
  return new FinetuneError('ERR_FILE', `Cannot read the data ${path}: ${reason}.`, { path, code }, error);
}

async function chooseContainer(path: string): Promise<Container> {
  const size = await stat(path).then(
    (s) => {
      if (s.isDirectory()) throw fileError(path, { code: 'EISDIR', message: '' });
      return s.size;
    },
    (error: unknown) => Promise.reject(fileError(path, error)),
  );
  if (size === 0) throw empty(path);
  const extension = extname(path.replace(/\.gz$/, '')).toLowerCase();
  if (['.txt', '.text', '.md'].includes(extension)) return 'plain';
  if (['.csv', '.tsv', '.parquet', '.arrow', '.xlsx', '.zip'].includes(extension)) {
    throw new FinetuneError('ERR_DATA_INVALID', `${path}: ${extension} files are not read. Convert the rows to JSON lines (.jsonl).`, {
      path,
    });
  }
  const first = await firstByte(path);
  if (first === undefined) throw empty(path);
  if (first === '[') return 'json';
  if (first === '{' || ['.jsonl', '.ndjson', '.json'].includes(extension)) return 'jsonl';
  if (extension === '') return 'plain';
  throw new FinetuneError(
    'ERR_DATA_INVALID',
    `${path}: wanted JSON lines (.jsonl), a JSON array (.json) or plain text (.txt), each also as .gz; it begins with ${JSON.stringify(first)}.`,
    { path },
  );
}

function empty(path: string): FinetuneError {
  return new FinetuneError('ERR_DATA_INVALID', `${path} is empty: there is nothing to learn from.`, { path });
}

/** The first character that is neither white space nor a byte order mark. */
async function firstByte(path: string): Promise<string | undefined> {
  for await (const chunk of readBytes(path)) {
    for (const byte of chunk) {
      if (byte > 0x20 && ![0xef, 0xbb, 0xbf].includes(byte)) return String.fromCharCode(byte);
    }
  }
  return undefined;
}

function decodeText(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FinetuneError('ERR_DATA_INVALID', `${where}: not valid UTF-8. Save the file as UTF-8.`, {}, error);
  }
}

async function* lineRows(path: string): AsyncGenerator<RawRow> {
  const name = basename(path);
  let row = 0;
  for await (const { bytes, line } of splitLines(path)) {
    const where = `${name}:${line}`;
    const text = decodeText(bytes, where).trim();
    if (text === '') continue;
    yield { value: parseLine(text, where), where, row: row++ };
  }
}

function parseLine(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const start = text.length > 60 ? `${text.slice(0, 60)}...` : text;
    throw new FinetuneError(
      'ERR_DATA_INVALID',
      `${where}: not a JSON value (${(error as Error).message}): ${start} A JSONL file holds one whole JSON object on every line.`,
      { where },
      error,
    );
  }
}

async function* splitLines(path: string): AsyncGenerator<{ bytes: Buffer; line: number }> {
  let parts: Buffer[] = [];
  let held = 0;
  let line = 1;
  for await (const chunk of readBytes(path)) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      parts.push(chunk.subarray(start, end));
      yield { bytes: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts), line: line++ };
      parts = [];
      held = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      held += chunk.length - start;
      if (held > maxLineBytes) throw tooLarge(`${basename(path)}:${line}`, 'a line', maxLineBytes);
    }
  }
  if (held > 0) yield { bytes: Buffer.concat(parts), line };
}

function tooLarge(where: string, what: string, limit: number): FinetuneError {
  return new FinetuneError(
    'ERR_DATA_INVALID',
    `${where}: ${what} of more than ${limit / 2 ** 20} MiB. Split the data into JSON lines, one example on each.`,
    { where },
  );
}

async function readWhole(path: string): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of readBytes(path)) {
    bytes += chunk.length;
    if (bytes > maxWholeBytes) throw tooLarge(basename(path), 'a file', maxWholeBytes);
    parts.push(chunk);
  }
  return decodeText(Buffer.concat(parts), basename(path));
}

async function* arrayRows(path: string): AsyncGenerator<RawRow> {
  const name = basename(path);
  const text = await readWhole(path);
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (error) {
    throw new FinetuneError('ERR_DATA_INVALID', `${name}: not valid JSON (${(error as Error).message}).`, { path }, error);
  }
  for (const [row, value] of (values as unknown[]).entries()) yield { value, where: `${name}[${row}]`, row };
}

async function* plainText(path: string): AsyncGenerator<RawRow> {
  const text = (await readWhole(path)).replaceAll('\r\n', '\n');
  if (text.trim() === '') throw empty(path);
  yield { value: text, where: basename(path), row: 0 };
}

async function* valueRows(source: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<RawRow> {
  let row = 0;
  for await (const value of source) {
    yield { value, where: `data[${row}]`, row };
    row++;
  }
}
