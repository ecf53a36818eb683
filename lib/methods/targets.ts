import type { Linear } from '../layers/linear.js';
import { FinetuneError } from '../native/errors.js';

/**
 * Whether a module path matches a pattern, as peft matches target_modules: equal to it, or ending in "." + pattern;
 * `*` stands for any part of a name.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*');
  return new RegExp(`^(.*\\.)?${escaped}$`).test(path);
}

/** Value of the first pattern that matches the path; undefined when none does. Patterns are those of rank_pattern: a name or a regular expression. */
export function patternValue(path: string, patterns: Readonly<Record<string, number>>): number | undefined {
  for (const [pattern, value] of Object.entries(patterns)) if (new RegExp(`^(.*\\.)?(${pattern})$`).test(path)) return value;
  return undefined;
}

/**
 * The layers that targets name.
 * @throws ERR_CONFIG_INVALID when a pattern matches nothing, with the names there are
 */
export function selectTargets(linears: readonly Linear[], targets: 'all-linear' | readonly string[]): Linear[] {
  if (targets === 'all-linear') return [...linears];
  const names = [...new Set(linears.map((l) => l.path.split('.').at(-1) as string))];
  const unmatched = targets.filter((t) => !linears.some((l) => matchesPattern(l.path, t)));
  if (unmatched.length > 0)
    throw new FinetuneError(
      'ERR_CONFIG_INVALID',
      `method.targets: ${unmatched.map((t) => `"${t}"`).join(', ')} match${unmatched.length === 1 ? 'es' : ''} no linear layer; the layers are named ${names.join(', ')}`,
      { unmatched, names },
    );
  return linears.filter((l) => targets.some((t) => matchesPattern(l.path, t)));
}
