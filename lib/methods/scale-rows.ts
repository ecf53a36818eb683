import type { Tensor } from '../core/tensor.js';
import type { OpContext } from '../native/call.js';
import * as ops from '../native/ops.js';

/** Multiplies each row of rows [n, K] in place by its of factors [n]. For merging, not for steps: a call a row. */
export function scaleRows(rows: Tensor, factors: Tensor, context: OpContext): void {
  const values = factors.read();
  for (let i = 0; i < rows.rows; i++) {
    const row = rows.slice(i, i + 1);
    ops.scale(context, { x: row, y: row, scale: values[i] as number });
  }
}
