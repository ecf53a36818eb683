/**
 * Merges that make byte-pair encoding cut text as a SentencePiece BPE vocabulary with scores does: every way to build a token
 * from two others, best score first; among equal scores the longer left part, then the longer right part.
 * @param isSkipped tokens that no text merges into, such as control and byte tokens
 */
export function sentencePieceMerges(tokens: string[], scores: number[], isSkipped: (id: number) => boolean): [string, string][] {
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (!isSkipped(id)) ids.set(token, id);
  const merges: { parts: [string, string]; score: number; lengths: [number, number] }[] = [];
  for (const [token, id] of ids) {
    const ways = splits(token).filter(([left, right]) => ids.has(left) && ids.has(right));
    ways.sort(([a, c], [b, d]) => (ids.get(a) as number) - (ids.get(b) as number) || (ids.get(c) as number) - (ids.get(d) as number));
    for (const parts of ways) merges.push({ parts, score: scores[id] as number, lengths: [codePoints(parts[0]), codePoints(parts[1])] });
  }
  merges.sort((a, b) => b.score - a.score || b.lengths[0] - a.lengths[0] || b.lengths[1] - a.lengths[1]);
  return merges.map((m) => m.parts);
}

// Between code points, never inside a surrogate pair. Longer than any real token: not taken apart, as the ways to grow with it.
function splits(token: string): [string, string][] {
  if (token.length > 256) return [];
  const ways: [string, string][] = [];
  let at = 0;
  for (const character of token) {
    if (at > 0) ways.push([token.slice(0, at), token.slice(at)]);
    at += character.length;
  }
  return ways;
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
