import { FinetuneError } from '../native/errors.js';

const maxLines = 20;

/**
 * Everything in which a set of tensors differs from what was expected, one line each, worst first: missing, of another shape,
 * not expected. Empty = they fit.
 */
export function shapeMismatches(
  expected: ReadonlyMap<string, readonly number[]>,
  got: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): string[] {
  const lines: string[] = [];
  for (const [name, shape] of expected) if (!got.has(name)) lines.push(`${name} [${shape}] is missing`);
  for (const [name, shape] of expected) {
    const tensor = got.get(name);
    if (tensor && tensor.shape.join() !== shape.join()) lines.push(`${name} must be [${shape}], got [${tensor.shape}]`);
  }
  for (const [name, { shape }] of got) if (!expected.has(name)) lines.push(`${name} [${shape}] has no place in the model`);
  return lines;
}

/** @throws ERR_ADAPTER_MISMATCH that lists all mismatches, at most 20 of them in the message */
export function assertShapes(
  where: string,
  expected: ReadonlyMap<string, readonly number[]>,
  got: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  advice = 'Use the base model and target modules the adapter was trained with.',
): void {
  const lines = shapeMismatches(expected, got);
  if (lines.length === 0) return;
  const more = lines.length > maxLines ? [`... and ${lines.length - maxLines} more`] : [];
  throw new FinetuneError(
    'ERR_ADAPTER_MISMATCH',
    [`${where}: the adapter does not fit the model:`, ...lines.slice(0, maxLines), ...more, advice].join('\n  '),
    {
      mismatches: lines,
    },
  );
}
