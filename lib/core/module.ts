import type { Parameter } from './parameter.js';

/**
 * Rules every layer follows (there is no tape; the memory of a step is an ordinary loop one can read):
 *  - forward(x, run, ...) returns its output and `saved`: exactly what backward needs beyond its arguments. The caller owns x.
 *  - backward frees what is in `saved`. Tensors given to it stay the caller's unless it says otherwise.
 *  - the input gradient is made with the old weight first, then the weight gradient goes to run.sink.
 */
export interface Module {
  parameters(): Iterable<Parameter>;
}
