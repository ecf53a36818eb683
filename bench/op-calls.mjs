// Calls single ops of the built package (dist/) by name, on tensors with contents that do for timing.
import { dtypes, isQuantized } from '../dist/core/dtype.js';
import { allocate, release } from '../dist/core/memory.js';
import { Tensor } from '../dist/core/tensor.js';
import { native } from '../dist/native/loader.js';
import * as ops from '../dist/native/ops.js';

const camel = (name) => name.replace(/_([a-z0-9])/g, (_, c) => c.toUpperCase());
const calls = new Map(Object.entries(ops));
const schemas = new Map(native((a) => a.describe()).ops.map((op) => [op.name, op.fields]));

/** A context whose workspace stays between calls, as inside a training step. */
class KeptWorkspace {
  deviceIndex = 1;
  dry = false;
  #segment;

  acquireWorkspace(_op, bytes) {
    if (!this.#segment || this.#segment.bytes < bytes) {
      this.dispose();
      this.#segment = allocate(bytes, 'other');
    }
    return { segment: this.#segment.id, offset: 0 };
  }

  releaseWorkspace() {}

  dispose() {
    if (this.#segment) release(this.#segment);
    this.#segment = undefined;
  }
}

/** Where a block of a GGUF format keeps its f16 scale and minimum. */
const scalesAt = {
  q8_0: [0],
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q2_k: [80, 82],
  q3_k: [108],
  q4_k: [0, 2],
  q5_k: [0, 2],
  q6_k: [208],
};

/** Uniform in [-1, 1), quantized where there is a quantization, else blocks of arbitrary quants with f16 scales of 2^-6. */
export function randomTensor(dtype, shape, seed = 1) {
  const tensor = Tensor.allocate(dtype, shape, 'other');
  if (isQuantized(dtype) && !scalesAt[dtype]) {
    const x = randomTensor('bf16', shape, seed);
    ops.quantize(new KeptWorkspace(), { x, y: tensor });
    x.dispose();
  } else if (isQuantized(dtype)) {
    const { blockBytes } = dtypes[dtype];
    const bytes = new Uint8Array(tensor.bytes);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 24;
    for (let i = 0; i < bytes.length; i += blockBytes) for (const at of scalesAt[dtype]) bytes.set([0x00, 0x24], i + at);
    tensor.writeBytes(bytes);
  } else ops.randomFill(new KeptWorkspace(), { y: tensor, low: -1, high: 1, seed });
  return tensor;
}

/** The tensor of a case's argument. Values that are computed from other arguments become random ones: only their size is measured. */
function makeTensor(spec, seed) {
  const { dtype, shape, values } = spec;
  const isList = values !== undefined && typeof values !== 'function';
  const isIntegral = dtype === 'i32' || dtype === 'f64' || dtype === 'u8';
  if (!isList && !isIntegral) return randomTensor(dtype, shape, seed);
  const tensor = Tensor.allocate(dtype, shape, 'other');
  tensor.write(isList ? values : typeof values === 'function' ? values({}, {}) : new Float64Array(tensor.numElements));
  return tensor;
}

/** Bytes that an op has to move: inputs once, outputs once, what is read and written twice. Rows of a gather are not told apart. */
function movedBytes(fields, args) {
  return fields.reduce((sum, { name, access }) => {
    const tensor = args[camel(name)];
    return tensor instanceof Tensor ? sum + tensor.bytes * (access === 'inout' ? 2 : 1) : sum;
  }, 0);
}

/** A case of test/ops as a call: run(), the bytes it moves, dispose(). Strides and shared memory of arguments are not kept. */
export function prepareCase(op, args) {
  const fields = schemas.get(op);
  const tensors = Object.fromEntries(
    Object.entries(args).map(([name, arg], i) => [name, typeof arg === 'number' ? arg : makeTensor(arg, i + 1)]),
  );
  const context = new KeptWorkspace();
  const call = calls.get(camel(op));
  return {
    run: () => call(context, tensors),
    bytes: movedBytes(fields, tensors),
    dispose() {
      context.dispose();
      for (const tensor of Object.values(tensors)) if (tensor instanceof Tensor) tensor.dispose();
    },
  };
}
