// Trains the merges of a byte-level BPE tokenizer (Sennrich et al. 2016, arXiv 1508.07909; over bytes as in GPT-2).

/** The printable characters that tokenizer.json writes for the 256 bytes: Latin-1's own where printable, else 256 and up. */
const byteCharacters = (() => {
  const isPrintable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();

/** GPT-2's split into words, which keep the space before them; what the ByteLevel pre-tokenizer does with use_regex. */
const words = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

function countWords(texts) {
  const counts = new Map();
  for (const text of texts) for (const [word] of text.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => ({ symbols: [...Buffer.from(word)].map((byte) => byteCharacters[byte]), count }));
}

/** The most frequent pair of neighbours; the first in alphabetical order among equals. */
function mostFrequentPair(entries) {
  const counts = new Map();
  for (const { symbols, count } of entries) {
    for (let i = 0; i + 1 < symbols.length; i++) {
      const pair = `${symbols[i]} ${symbols[i + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  }
  let best;
  for (const [pair, count] of counts) if (!best || count > best.count || (count === best.count && pair < best.pair)) best = { pair, count };
  return best?.count > 1 ? best.pair : undefined;
}

function applyMerge(symbols, left, right) {
  for (let i = 0; i + 1 < symbols.length; i++) if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, left + right);
}

/**
 * tokenizer.json with at most `vocabSize` tokens: the 256 bytes, merges learned from `texts`, then the special tokens.
 * Any text can be encoded.
 */
export function trainTokenizer(texts, vocabSize, specialTokens) {
  const entries = countWords(texts);
  const merges = [];
  while (256 + merges.length + specialTokens.length < vocabSize) {
    const pair = mostFrequentPair(entries);
    if (pair === undefined) break;
    merges.push(pair);
    const [left, right] = pair.split(' ');
    for (const { symbols } of entries) applyMerge(symbols, left, right);
  }
  const tokens = [...byteCharacters, ...merges.map((pair) => pair.replace(' ', ''))];
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, i) => ({ id: tokens.length + i, content, ...flags })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
