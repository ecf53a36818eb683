import type { Tensor } from '../core/tensor.js';
import { dtypes } from '../core/dtype.js';
import { addon, type Addon } from './loader.js';
import { translateNativeError } from './errors.js';

/** What an op call needs besides its arguments: the device, whether to run at all, and where its workspace comes from. */
export interface OpContext {
  /** Native device number: lib/core/device.ts. */
  readonly deviceIndex: number;
  /** true: check shapes and count the workspace, run nothing. */
  readonly dry: boolean;
  /** Workspace of an op, valid until releaseWorkspace. */
  acquireWorkspace(op: string, bytes: number): { segment: number; offset: number };
  releaseWorkspace(): void;
}

let slots: Float64Array | undefined;
let engine: Addon | undefined;

function argumentSlots(): Float64Array {
  engine ??= addon();
  slots ??= engine.arguments;
  return slots;
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

/** Runs op number `index` on the arguments set before. */
export function run(context: OpContext, index: number, name: string, hasWorkspace: boolean): void {
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
      a.call(context.deviceIndex, index, context.dry);
    } finally {
      if (bytes > 0) context.releaseWorkspace();
    }
  } catch (error) {
    throw translateNativeError(error);
  }
}
