import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { corruptFile, fileError, shown } from './file-error.js';

export type JsonObject = Record<string, unknown>;

const mebibyte = 2 ** 20;
/** Largest JSON file read whole; tokenizer.json files with 256k tokens are about 35 MiB. */
const defaultMaxBytes = 256 * mebibyte;

/** The bytes of a regular file. @throws ERR_FILE, also for a folder, a device or more than `maxBytes` */
export function readWholeFile(path: string, maxBytes = defaultMaxBytes): Buffer {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw fileError(path, 'read it', cause);
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw new Error(status.isDirectory() ? 'it is a folder, a file was expected' : 'it is not a regular file');
    if (status.size > maxBytes) throw new Error(`it has ${status.size} bytes, more than the ${maxBytes} expected of such a file`);
    const bytes = Buffer.alloc(status.size);
    let filled = 0;
    while (filled < bytes.length) {
      const count = readSync(file, bytes, filled, bytes.length - filled, filled);
      if (count === 0) break;
      filled += count;
    }
    return bytes.subarray(0, filled);
  } catch (cause) {
    throw fileError(path, 'read it', cause);
  } finally {
    closeSync(file);
  }
}

const strictDecoder = new TextDecoder('utf-8', { fatal: true });

/** A file of UTF-8 text without its byte order mark. @throws ERR_FILE, or ERR_MODEL_CORRUPT when it is not UTF-8 */
export function readTextFile(path: string, maxBytes = defaultMaxBytes): string {
  return decodeUtf8(readWholeFile(path, maxBytes), path);
}

/** A file that holds one JSON object. @throws ERR_FILE, or ERR_MODEL_CORRUPT with the reason */
export function readJsonFile(path: string, maxBytes = defaultMaxBytes): JsonObject {
  return parseJsonObject(readTextFile(path, maxBytes), path);
}

/** Decodes strictly: bytes that are not UTF-8 are an error, not a replacement character. @throws ERR_MODEL_CORRUPT */
export function decodeUtf8(bytes: Uint8Array, where: string): string {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    throw corruptFile(where, 'the text is not valid UTF-8');
  }
}

/** Parses text that must be one JSON object. @throws ERR_MODEL_CORRUPT */
export function parseJsonObject(text: string, where: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw corruptFile(where, text.trim() === '' ? 'it is empty, a JSON object was expected' : `it is not valid JSON (${shown(reason)})`);
  }
  if (!isObject(value)) throw corruptFile(where, `a JSON object was expected, got ${shown(value)}`);
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * What JSON.parse would let pass, or choke on: a key that occurs twice in one object (it keeps the last), and nesting deeper
 * than `maxDepth` (it takes many times the text's bytes). Run before JSON.parse; says nothing about other mistakes.
 */
export function jsonProblem(text: string, maxDepth: number): string | undefined {
  const open: (Set<string> | undefined)[] = []; // keys of each object we are in; undefined = array
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '{' || c === '[') {
      if (open.push(c === '{' ? new Set() : undefined) > maxDepth) return `it nests deeper than ${maxDepth} levels`;
    } else if (c === '}' || c === ']') open.pop();
    else if (c === '"') {
      const end = endOfString(text, i);
      if (isKey(text, end)) {
        const key = decodedString(text.slice(i, end));
        const keys = open.at(-1);
        if (keys?.has(key)) return `the key ${shown(key)} occurs twice`;
        keys?.add(key);
      }
      i = end - 1;
    }
  }
  return undefined;
}

function endOfString(text: string, begin: number): number {
  let i = begin + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i + 1;
}

function isKey(text: string, end: number): boolean {
  let i = end;
  while (i < text.length && ' \t\r\n'.includes(text[i] as string)) i++;
  return text[i] === ':';
}

// Escapes decoded, so that "\u0061" and "a" are the same key; a malformed literal stays for JSON.parse to report.
function decodedString(literal: string): string {
  try {
    return JSON.parse(literal) as string;
  } catch {
    return literal;
  }
}
