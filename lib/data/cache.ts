import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Example, ignoredLabel } from './example.js';
import type { DataReport } from './report.js';

/** Part of every key: raise it when rows become other tokens than before. */
const version = 1;
const magic = 'NFTDATA1';
const checksumBytes = 32;
/** Buffers end at 4 GiB; larger data is tokenized anew each time. */
const maxCachedTokens = 2 ** 28;

export interface CachedData {
  examples: Example[];
  report: DataReport;
}

interface Header {
  key: string;
  report: DataReport;
  examples: number;
  tokens: number;
}

/** `NODE_FINETUNE_CACHE`, or the cache folder of the system. */
export function defaultCacheDir(): string {
  if (process.env.NODE_FINETUNE_CACHE) return process.env.NODE_FINETUNE_CACHE;
  const home = homedir();
  if (process.platform === 'win32') return join(process.env.LOCALAPPDATA ?? join(home, 'AppData', 'Local'), 'node-finetune', 'Cache');
  if (process.platform === 'darwin') return join(home, 'Library', 'Caches', 'node-finetune');
  return join(process.env.XDG_CACHE_HOME ?? join(home, '.cache'), 'node-finetune');
}

/** Key of tokenized data: the file's bytes, and everything that decides what becomes of them. */
export async function cacheKey(path: string, ...settings: unknown[]): Promise<string> {
  const file = createHash('sha256');
  for await (const chunk of createReadStream(path)) file.update(chunk as Buffer);
  return createHash('sha256')
    .update(JSON.stringify([version, file.digest('hex'), ...settings]))
    .digest('hex');
}

/** The cached data, or undefined where there is none or the file is damaged. */
export async function readCache(folder: string, key: string): Promise<CachedData | undefined> {
  let file: Buffer;
  try {
    file = await readFile(cachePath(folder, key));
  } catch {
    return undefined;
  }
  const body = file.subarray(0, file.length - checksumBytes);
  const intact = file.length > magic.length + 4 + checksumBytes && digest(body).equals(file.subarray(body.length));
  if (!intact || body.toString('latin1', 0, magic.length) !== magic) return undefined;
  const start = magic.length + 4;
  const headerEnd = start + body.readUInt32LE(magic.length);
  const header = JSON.parse(body.toString('utf8', start, headerEnd)) as Header;
  return header.key === key ? { report: header.report, examples: unpackExamples(header, body.subarray(headerEnd)) } : undefined;
}

/** Writes whole files only: a temporary one, renamed when it is safely on the disk. Returns why it could not, if so. */
export async function writeCache(folder: string, key: string, data: CachedData): Promise<string | undefined> {
  if (data.report.tokens > maxCachedTokens) return `more than ${maxCachedTokens} tokens`;
  const header: Header = { key, report: data.report, examples: data.examples.length, tokens: data.report.tokens };
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(json.length);
  const body = Buffer.concat([Buffer.from(magic, 'latin1'), size, json, ...packExamples(data.examples, header.tokens)]);
  const temporary = join(folder, `${key}.${randomUUID()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(temporary, 'wx');
    try {
      await file.writev([body, digest(body)]);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, cachePath(folder, key));
    return undefined;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    return error instanceof Error ? error.message : String(error);
  }
}

/** SHA-256 over what is trained on: every id, label and row number. */
export function hashExamples(examples: readonly Example[]): string {
  const hash = createHash('sha256');
  for (const { inputIds, labels, row } of examples) {
    hash.update(Int32Array.of(row, inputIds.length)).update(inputIds).update(labels);
  }
  return hash.digest('hex');
}

function cachePath(folder: string, key: string): string {
  return join(folder, `${key}.tokens`);
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** Rows, lengths, ids (int32 each), then truncated flags by example and learned flags by token (a byte each). */
function packExamples(examples: readonly Example[], tokens: number): Buffer[] {
  const table = new Int32Array(2 * examples.length + tokens);
  const flags = new Uint8Array(examples.length + tokens);
  let at = 0;
  for (const [i, { inputIds, labels, row, truncated }] of examples.entries()) {
    table[i] = row;
    table[examples.length + i] = inputIds.length;
    flags[i] = truncated ? 1 : 0;
    table.set(inputIds, 2 * examples.length + at);
    for (const label of labels) flags[examples.length + at++] = label === ignoredLabel ? 0 : 1;
  }
  return [Buffer.from(table.buffer), Buffer.from(flags.buffer)];
}

function unpackExamples({ examples: count, tokens }: Header, payload: Buffer): Example[] {
  const tableBytes = 4 * (2 * count + tokens);
  const table = new Int32Array(new Uint8Array(payload.subarray(0, tableBytes)).buffer);
  const flags = payload.subarray(tableBytes);
  const ids = table.subarray(2 * count);
  const labels = ids.map((id, i) => (flags[count + i] ? id : ignoredLabel));
  const examples: Example[] = [];
  let start = 0;
  for (let i = 0; i < count; i++) {
    const end = start + (table[count + i] as number);
    examples.push({
      inputIds: ids.subarray(start, end),
      labels: labels.subarray(start, end),
      row: table[i] as number,
      truncated: flags[i] === 1,
    });
    start = end;
  }
  return examples;
}
