import type { JsonObject } from './json-file.js';

/** How text is cut before byte-level BPE. */
export interface PreTokenization {
  normalizer: JsonObject | null;
  preTokenizer: JsonObject;
  /** Whole pieces that are tokens need no merges. */
  ignoreMerges: boolean;
  /** Whether a BOS token is added where the file does not say. */
  addBos: boolean;
}

const byteLevel = (useRegex: boolean): JsonObject => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

const sequence = (...pretokenizers: JsonObject[]): JsonObject => ({ type: 'Sequence', pretokenizers });

const split = (regex: string): JsonObject =>
  sequence({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false }, byteLevel(false));

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const words = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${spaces}`;
// Words that keep a run of capitals apart from the lower case after it.
const casedWords = (contraction: string, digits: string): string => {
  const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
  const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
  const word = (body: string): string => `[^\\r\\n\\p{L}\\p{N}]?${body}${contraction}`;
  return `${word(`${upper}*${lower}+`)}|${word(`${upper}+${lower}*`)}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${spaces}`;
};

const gpt2: PreTokenization = { normalizer: null, preTokenizer: byteLevel(true), ignoreMerges: false, addBos: false };
const singleDigits: PreTokenization = { ...gpt2, preTokenizer: sequence({ type: 'Digits', individual_digits: true }, byteLevel(true)) };
const llama3: PreTokenization = { normalizer: null, preTokenizer: split(words('\\p{N}{1,3}')), ignoreMerges: true, addBos: true };
const qwen2: PreTokenization = { normalizer: { type: 'NFC' }, preTokenizer: split(words('\\p{N}')), ignoreMerges: false, addBos: false };
const tekken: PreTokenization = { normalizer: null, preTokenizer: split(casedWords('', '\\p{N}')), ignoreMerges: true, addBos: true };
const gpt4o: PreTokenization = {
  normalizer: null,
  preTokenizer: split(casedWords(`${contractions}?`, '\\p{N}{1,3}')),
  ignoreMerges: true,
  addBos: false,
};

/** The registry, by tokenizer.ggml.pre (names: llama.cpp's convert_hf_to_gguf.py). Files from before that key are `default`. */
export const preTokenizations: Readonly<Record<string, PreTokenization>> = {
  default: gpt2,
  'gpt-2': gpt2,
  olmo: gpt2,
  smollm: singleDigits,
  starcoder: singleDigits,
  refact: singleDigits,
  'llama-bpe': llama3,
  llama3: llama3,
  'llama-v3': llama3,
  qwen2: qwen2,
  'deepseek-r1-qwen': qwen2,
  tekken: tekken,
  'gpt-4o': gpt4o,
};
