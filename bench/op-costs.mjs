// What an op of the case list costs, and the same work as a request to the rival.

const [rows, cols] = [({ shape }) => shape[0], ({ shape }) => shape.at(-1)];

/** Visible pairs of query and key: sequences are right-aligned and causal. */
function visiblePairs({ cuQ, cuK }) {
  let pairs = 0;
  for (let s = 0; s + 1 < cuQ.values.length; s++) {
    const queries = cuQ.values[s + 1] - cuQ.values[s];
    const keys = cuK.values[s + 1] - cuK.values[s];
    for (let i = 0; i < queries; i++) pairs += Math.max(0, keys - (queries - 1 - i));
  }
  return pairs;
}

const product = (a, b) => 2 * rows(a) * cols(a) * b;
/** Sum over the layers of a shared op: their arguments without the position. */
const layers = (args, f, needed = 'weight') =>
  [0, 1, 2]
    .map((i) => (name) => args[`${name}${i}`])
    .filter((of) => of(needed))
    .reduce((total, of) => total + f(of), 0);
const withTail = (a, b, tail) => product(a, b) + (tail ? product(tail, b) : 0);
const attention = (args, products) => 2 * products * visiblePairs(args) * cols(args.q);
const flopsOf = {
  linear_forward: ({ x, weight, tailX }) => withTail(x, rows(weight), tailX),
  linear_backward_input: ({ dy, weight, tailDy }) => withTail(dy, cols(weight), tailDy),
  linear_forward_shared: (args) => layers(args, (of) => withTail(args.x, rows(of('weight')), of('tailX'))),
  linear_backward_input_shared: (args) => layers(args, (of) => withTail(of('dy'), cols(of('weight')), of('tailDy'))),
  linear_backward_weight: ({ dy, x }) => product(dy, cols(x)),
  linear_backward_weight_shared: (args) => layers(args, (of) => product(of('dy'), cols(args.x)), 'dy'),
  linear_backward: ({ dy, weight }) => 2 * product(dy, cols(weight)),
  linear_backward_weight_update: ({ dy, x }) => product(dy, cols(x)),
  linear_cross_entropy: ({ h, weight, dh, dweight }) => product(h, rows(weight)) * (1 + (dh ? 1 : 0) + (dweight ? 1 : 0)),
  // The logits once more, and the gradient.
  linear_cross_entropy_update: ({ h, weight }) => product(h, rows(weight)) * 2,
  attention_forward: (args) => attention(args, 2),
  attention_backward: (args) => attention(args, 5),
};

/** Floating-point operations of matrix products, and the type they are done in; undefined for ops that only pass over memory. */
export function productsOf(op, args) {
  const flops = flopsOf[op]?.(args);
  if (flops === undefined) return undefined;
  const { dtype } = args.x ?? args.dy ?? args.dy0 ?? args.h ?? args.q;
  return { flops, dtype: dtype === 'bf16' ? 'bf16' : 'f32' };
}

function sameType(...tensors) {
  const [{ dtype }] = tensors;
  return (dtype === 'f32' || dtype === 'bf16') && tensors.every((t) => t.dtype === dtype) ? dtype : undefined;
}

/** Length of sequences that are all equally long and see only themselves. */
function commonLength({ cuQ, cuK }) {
  const lengths = cuQ.values.slice(1).map((end, s) => end - cuQ.values[s]);
  return cuQ.values.every((v, s) => v === cuK.values[s]) && lengths.every((n) => n === lengths[0]) ? lengths[0] : undefined;
}

function attentionRequest(args, backward) {
  const { q, heads, kvHeads, window, softcap } = args;
  const length = commonLength(args);
  const dtype = sameType(q, args.k, args.v);
  if (!length || !dtype || window || softcap) return undefined;
  const shape = { sequences: rows(q) / length, length, heads, kv_heads: kvHeads, width: cols(q) / heads };
  return { kind: 'attention', backward, dtype, ...shape };
}

function gemmRequest(layout, m, k, n, ...tensors) {
  const dtype = sameType(...tensors);
  return dtype && { kind: 'gemm', layout, m, k, n, dtype };
}

const requests = {
  linear_forward: ({ x, weight, tailX, bias }) =>
    tailX || bias ? undefined : gemmRequest('NT', rows(x), cols(x), rows(weight), x, weight),
  linear_backward_input: ({ dy, weight, tailDy }) => (tailDy ? undefined : gemmRequest('NN', rows(dy), cols(weight), cols(dy), dy, weight)),
  linear_backward_weight: ({ dy, x }) => gemmRequest('TN', rows(x), cols(x), cols(dy), dy, x),
  attention_forward: (args) => attentionRequest(args, false),
  attention_backward: (args) => attentionRequest(args, true),
  rms_norm_forward: ({ x }) => ({ kind: 'rms_norm', backward: false, rows: rows(x), width: cols(x), dtype: sameType(x) }),
  rms_norm_backward: ({ x }) => ({ kind: 'rms_norm', backward: true, rows: rows(x), width: cols(x), dtype: sameType(x) }),
  gated_activation_forward: ({ gate, kind }) =>
    kind === 0 ? { kind: 'swiglu', backward: false, rows: rows(gate), width: cols(gate), dtype: sameType(gate) } : undefined,
  gated_activation_backward: ({ gate, kind }) =>
    kind === 0 ? { kind: 'swiglu', backward: true, rows: rows(gate), width: cols(gate), dtype: sameType(gate) } : undefined,
  linear_cross_entropy: ({ h, weight, dh, dweight }) =>
    dh && { kind: 'head', rows: rows(h), vocab: rows(weight), width: cols(h), dtype: sameType(h, weight), weight_gradient: !!dweight },
};

/** The case as PyTorch would do it; undefined where it has no such thing. */
export function rivalRequest(op, args) {
  const request = requests[op]?.(args);
  return request?.dtype ? request : undefined;
}
