import { createHash } from 'node:crypto';
import { dtypes } from '../core/dtype.js';
import type { Tensor } from '../core/tensor.js';
import { FinetuneError, translateNativeError } from './errors.js';
import { type Addon, addon, native } from './loader.js';
import { schemaHash } from './schema-hash.js';

/** What an op call needs besides its arguments: the device, whether to run at all, and where its workspace comes from. */
export interface OpContext {
  /** Native device number: lib/core/device.ts. */
  readonly deviceIndex: number;
  /** true: check shapes and count the workspace, run nothing. */
  readonly dry: boolean;
  /** Workspace of an op, valid until releaseWorkspace. */
  acquireWorkspace(op: string, bytes: number): { segment: number; offset: number };
  releaseWorkspace(): void;
  /** Where calls are noted instead of run. */
  readonly commands?: CommandList | undefined;
}

/** Op calls with all their arguments, noted one by one and run in one call of the addon. Contents of tensors may change between runs. */
export class CommandList {
  private buffer = new Float64Array(4096);
  private length = 0;

  /** Notes a call with the argument slots given. */
  add(device: number, op: number, threads: number, arguments_: Float64Array): void {
    const end = this.length + 4 + arguments_.length;
    if (end > this.buffer.length) {
      const larger = new Float64Array(2 * end);
      larger.set(this.buffer);
      this.buffer = larger;
    }
    this.buffer.set([device, op, threads, arguments_.length], this.length);
    this.buffer.set(arguments_, this.length + 4);
    this.length = end;
  }

  /** Runs all calls in the order in which they were noted. */
  run(): void {
    if (this.length > 0) native((a) => a.replay(this.buffer.subarray(0, this.length)));
  }

  clear(): void {
    this.length = 0;
  }
}

let slots: Float64Array | undefined;
let engine: Addon | undefined;

function argumentSlots(): Float64Array {
  engine ??= checked(addon());
  slots ??= engine.arguments;
  return slots;
}

// Ops are called by index: an addon of other sources would run the wrong one.
function checked(candidate: Addon): Addon {
  const hash = createHash('sha256').update(JSON.stringify(candidate.describe())).digest('hex').slice(0, 16);
  if (hash === schemaHash) return candidate;
  throw new FinetuneError(
    'ERR_NATIVE_LOAD',
    `The native addon was built from other sources than this JavaScript (ops ${hash}, wanted ${schemaHash}). Build both again: npm run setup, or reinstall the package.`,
    { got: hash, wanted: schemaHash },
  );
}

// Layout: native/bindings/arguments.h.
export function setTensor(at: number, t: Tensor | undefined): void {
  const s = slots ?? argumentSlots();
  if (t === undefined) {
    s[at] = -1;
    return;
  }
  t.assertLive();
  s[at] = t.segment.id;
  s[at + 1] = t.byteOffset;
  s[at + 2] = dtypes[t.dtype].index;
  const { shape } = t;
  s[at + 3] = shape.length;
  s[at + 4] = t.rowStride;
  for (let i = 0; i < 4; i++) s[at + 5 + i] = shape[i] ?? 0;
}

export function setNumber(at: number, value: number): void {
  (slots ?? argumentSlots())[at] = value;
}

/** Runs op number `index` on the arguments set before, in slots below `end`. */
export function run(context: OpContext, index: number, name: string, hasWorkspace: boolean, end: number): void {
  const a = engine as Addon;
  const s = slots as Float64Array;
  try {
    s[0] = -1;
    const bytes = hasWorkspace ? a.workspaceBytes(context.deviceIndex, index) : 0;
    if (bytes > 0) {
      const workspace = context.acquireWorkspace(name, bytes);
      s[0] = workspace.segment;
      s[1] = workspace.offset;
      s[2] = bytes;
    }
    try {
      if (context.commands) context.commands.add(context.deviceIndex, index, a.threads(), s.subarray(0, end));
      else a.call(context.deviceIndex, index, context.dry);
    } finally {
      if (bytes > 0) context.releaseWorkspace();
    }
  } catch (error) {
    throw translateNativeError(error);
  }
}
