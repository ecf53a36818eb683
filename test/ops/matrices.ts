// Products of matrices as plain loops, every result rounded by `f`.
import { Matrix, type Round } from './suite.js';

export function product(a: Matrix, b: Matrix, f: Round): Matrix {
  const c = new Matrix(a.rows, b.cols);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.cols; j++) {
      let sum = 0;
      for (let k = 0; k < a.cols; k++) sum = f(sum + f(a.at(i, k) * b.at(k, j)));
      c.set(i, j, sum);
    }
  return c;
}

export function transposed(a: Matrix): Matrix {
  const t = new Matrix(a.cols, a.rows);
  for (let i = 0; i < a.rows; i++) for (let j = 0; j < a.cols; j++) t.set(j, i, a.at(i, j));
  return t;
}

export function map(a: Matrix, change: (x: number, i: number) => number): Matrix {
  return new Matrix(
    a.rows,
    a.cols,
    a.data.map((x, i) => change(x, i)),
  );
}

/** Root of the sum of squares. */
export function norm(values: Iterable<number>, f: Round): number {
  let sum = 0;
  for (const x of values) sum = f(sum + f(x * x));
  return f(Math.sqrt(sum));
}
