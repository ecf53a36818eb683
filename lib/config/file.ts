import { readFileSync, statSync } from 'node:fs';
import { isMap, isPair, isScalar, LineCounter, type Pair, parseDocument } from 'yaml';
import { FinetuneError } from '../native/errors.js';
import { isObject, type Layer, type Origin } from './layers.js';

/** More than any configuration needs; a model file given by mistake is refused before it is read. */
const maxBytes = 2 ** 20;

/**
 * Reads a YAML or JSON configuration; every value knows its line and column.
 * @throws ERR_FILE if it cannot be read, ERR_CONFIG_INVALID with line and column if it is no YAML mapping
 */
export function readConfigFile(file: string): Layer {
  return parseConfig(readText(file), file);
}

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > maxBytes)
      throw new FinetuneError(
        'ERR_CONFIG_INVALID',
        `${file} has ${size} bytes; a configuration has at most ${maxBytes}. Is it the right file?`,
        { file },
      );
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof FinetuneError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? 'does not exist' : `could not be read: ${message}`;
    throw new FinetuneError('ERR_FILE', `The configuration file ${file} ${what}`, { file }, error);
  }
}

/** A configuration from text; `file` is only shown in messages. @throws ERR_CONFIG_INVALID */
export function parseConfig(text: string, file: string): Layer {
  const lineCounter = new LineCounter();
  // Numbers such as 012 or 1_000 are not YAML 1.2; JSON is read by the same parser, which also gives positions in it.
  const document = parseDocument(text, { lineCounter, prettyErrors: false, strict: true, uniqueKeys: true });
  const at = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem) throw syntaxError(file, at(problem.pos[0]), problem.message);

  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    throw syntaxError(file, { line: 1, column: 1 }, error instanceof Error ? error.message : String(error));
  }
  if (!isObject(value)) throw syntaxError(file, { line: 1, column: 1 }, 'wanted settings such as "batchSize: 4", one a line');

  const originOf = (path: readonly PropertyKey[], asKey = false): Origin => {
    const { line, column } = at(offsetOf(document.contents, path, asKey));
    return { kind: 'file', label: `${file}:${line}:${column}`, file, line, column };
  };
  return { value, originOf };
}

function syntaxError(file: string, { line, column }: { line: number; column: number }, message: string): FinetuneError {
  return new FinetuneError('ERR_CONFIG_INVALID', `${file}:${line}:${column}: ${message}`, { file, line, column });
}

/** Offset of the value at a path, or of its key; of the deepest node that exists on the way there. */
function offsetOf(contents: unknown, path: readonly PropertyKey[], asKey: boolean): number {
  let node: unknown = contents;
  let offset = start(node) ?? 0;
  for (const [i, key] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(
        (item): item is Pair => isPair(item) && String(isScalar(item.key) ? item.key.value : item.key) === String(key),
      );
      if (!pair) return offset;
      offset = start(pair.key) ?? offset;
      if (asKey && i === path.length - 1) return offset;
      node = pair.value;
      offset = start(node) ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}

function start(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0];
}
