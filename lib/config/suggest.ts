/** Number of single-character insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(replace, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (beforePrevious[j - 2] ?? 0) + 1);
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/**
 * The known name that was most likely meant, or undefined. Case, hyphens and underscores do not count, a third of the letters may be
 * wrong (at most 3), and a known name that the unknown one ends with or begins also counts (lora-rank: rank, checkpoint: checkpointing).
 */
export function suggest(unknown: string, known: Iterable<string>): string | undefined {
  const wanted = plain(unknown).slice(0, 64);
  if (wanted.length < 2) return undefined;
  const limit = Math.min(3, Math.max(1, Math.floor(wanted.length / 3)));
  let best: string | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const candidate = plain(name);
    const distance = editDistance(wanted, candidate);
    const part = candidate.length >= 4 && (wanted.endsWith(candidate) || candidate.endsWith(wanted) || candidate.startsWith(wanted));
    const cost = distance <= limit ? distance : part ? limit + 1 : Number.POSITIVE_INFINITY;
    if (cost < bestCost) [best, bestCost] = [name, cost];
  }
  return best;
}

/** '; did you mean X?' or nothing, to end a message with. */
export function didYouMean(unknown: string, known: Iterable<string>): string {
  const name = suggest(unknown, known);
  return name === undefined ? '' : `; did you mean ${name}?`;
}
