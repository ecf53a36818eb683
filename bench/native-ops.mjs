// Calls single ops of the addon, without the package: tensors are {segment, dtype, shape}.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const addon = createRequire(import.meta.url)('node-gyp-build')(join(dirname(fileURLToPath(import.meta.url)), '..'));
const { ops, dtypes } = addon.describe();
const cpu = 1;
const randomFill = ops.findIndex((op) => op.name === 'random_fill');

export function allocate(dtype, shape) {
  const index = dtypes.findIndex((d) => d.name === dtype);
  const { blockElements, blockBytes } = dtypes[index];
  const count = shape.reduce((a, b) => a * b, 1);
  return { segment: addon.allocate((count / blockElements) * blockBytes, 4), dtype: index, shape };
}

function setArguments(op, args) {
  const slots = addon.arguments;
  let at = 3;
  for (const field of ops[op].fields) {
    const value = args[field.name];
    if (field.kind !== 'tensor') {
      slots[at++] = value ?? field.default;
      continue;
    }
    if (value === undefined) slots[at] = -1;
    else slots.set([value.segment, 0, value.dtype, value.shape.length, value.shape.at(-1), ...value.shape, 0, 0].slice(0, 9), at);
    at += 9;
  }
}

/** run() calls the op; its workspace of `bytes` is there until release(). */
export function prepare(name, args) {
  const op = ops.findIndex((o) => o.name === name);
  setArguments(op, args);
  const bytes = ops[op].workspace ? addon.workspaceBytes(cpu, op) : 0;
  const workspace = bytes > 0 ? addon.allocate(bytes, 4) : -1;
  const run = () => {
    setArguments(op, args);
    addon.arguments.set([workspace, 0, bytes]);
    addon.call(cpu, op, false);
  };
  return { run, bytes, release: () => workspace >= 0 && addon.release(workspace) };
}

/** Uniform in [-1, 1), or blocks of a quantized type. */
export function random(dtype, shape, seed) {
  const t = allocate(dtype, shape);
  if (['f32', 'bf16', 'f16'].includes(dtype)) {
    setArguments(randomFill, { y: t, low: -1, high: 1, seed });
    addon.arguments[0] = -1;
    addon.call(cpu, randomFill, false);
  } else {
    // Blocks of arbitrary nibbles with an f16 scale of 2^-6.
    const bytes = new Uint8Array((shape[0] * shape[1] * dtypes[t.dtype].blockBytes) / dtypes[t.dtype].blockElements);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 24;
    for (let i = 0; i < bytes.length; i += dtypes[t.dtype].blockBytes) bytes.set([0x00, 0x24], i);
    addon.write(t.segment, 0, bytes);
  }
  return t;
}
