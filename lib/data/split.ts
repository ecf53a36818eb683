import { FinetuneError } from '../native/errors.js';
import type { Example } from './example.js';
import { permutation } from './shuffle.js';

/** Keeps the stream of the split apart from those of the epochs. */
const splitStream = 0x73706c69;

/**
 * Holds out rows for evaluation, drawn with the seed; both parts keep the order of the data, and no row is in both.
 * @param validation share of the rows (0 to 1, both excluded), or their number (an integer from 1); 0 = none
 */
export function splitDataset(examples: Example[], validation: number, seed: number): { train: Example[]; validation: Example[] } {
  if (validation === 0) return { train: examples, validation: [] };
  const rows = [...new Set(examples.map((example) => example.row))];
  const wrong = !(validation > 0) || (validation >= 1 && !Number.isInteger(validation));
  const count = validation < 1 ? Math.max(1, Math.round(rows.length * validation)) : validation;
  if (wrong || count >= rows.length) {
    throw new FinetuneError(
      'ERR_CONFIG_INVALID',
      `validationSplit: wanted a share between 0 and 1, or a number of rows below the ${rows.length} there are; came ${validation}.`,
      { validation, rows: rows.length },
    );
  }
  const order = permutation(rows.length, seed, splitStream);
  const held = new Set(Array.from(order.subarray(0, count), (i) => rows[i]));
  return {
    train: examples.filter((example) => !held.has(example.row)),
    validation: examples.filter((example) => held.has(example.row)),
  };
}
