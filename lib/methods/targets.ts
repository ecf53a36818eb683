import { z } from 'zod';
import { suggest } from '../config/suggest.js';
import type { Linear } from '../layers/linear.js';
import { FinetuneError } from '../native/errors.js';

/** Names or patterns of modules, as in peft's target_modules. */
export const patterns = () => z.array(z.string().min(1)).min(1);

/** Help of the setting `targets`, which means the same for every method. */
export const targetsHelp =
  'What is adapted or trained: names and patterns such as q_proj, mlp.*_proj or layers.0.*; all-linear (lora, dora): all linear layers but the head';

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
 * The items whose path a pattern matches.
 * @param what in messages: 'linear layer', 'norm' ...
 * @throws ERR_CONFIG_INVALID when a pattern matches nothing, with the names there are and those most like it
 */
export function selectByPath<T>(
  items: readonly T[],
  pathOf: (item: T) => string,
  targets: readonly string[],
  { what, setting = 'method.targets' }: { what: string; setting?: string },
): T[] {
  const lastName = (item: T) => pathOf(item).split('.').at(-1) as string;
  const names = [...new Set(items.map(lastName))];
  const unmatched = targets.filter((t) => !items.some((i) => matchesPattern(pathOf(i), t)));
  if (unmatched.length > 0) {
    const near = unmatched.flatMap((t) => suggest(t.split('.').at(-1) as string, names) ?? []);
    const meant = near.length > 0 ? `; did you mean ${[...new Set(near)].join(', ')}?` : '';
    throw new FinetuneError(
      'ERR_CONFIG_INVALID',
      `${setting}: ${unmatched.map((t) => `"${t}"`).join(', ')} match${unmatched.length === 1 ? 'es' : ''} no ${what}${meant}; the ${what}s are named ${names.join(', ')}`,
      { unmatched, names },
    );
  }
  return items.filter((i) => targets.some((t) => matchesPattern(pathOf(i), t)));
}

/**
 * The layers that targets name.
 * @throws ERR_CONFIG_INVALID when a pattern matches nothing, with the names there are
 */
export function selectTargets(linears: readonly Linear[], targets: 'all-linear' | readonly string[]): Linear[] {
  if (targets === 'all-linear') return [...linears];
  return selectByPath(linears, (l) => l.path, targets, { what: 'linear layer' });
}

/**
 * target_modules of peft for these of all modules: last path components where they select exactly these, else full paths.
 */
export function targetModules(all: readonly string[], chosen: readonly string[]): string[] {
  const last = (path: string) => path.split('.').at(-1) as string;
  const names = [...new Set(chosen.map(last))];
  return all.filter((path) => names.includes(last(path))).length === chosen.length ? names : [...chosen];
}
