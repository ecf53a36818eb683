import { Tokenizer } from '../../lib/data/tokenizer.js';

/** GPT-2's printable characters for the 256 bytes. */
const byteCharacters = (() => {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

const merges = [
  'h e',
  'l l',
  'he ll',
  'hell o',
  'Ġ w',
  'o r',
  'l d',
  'Ġw or',
  'Ġwor ld',
  'Ċ Ċ',
  'a n',
  'Ġ t',
  'Ġt h',
  'u s',
  'us er',
  'e r',
];

const specials = ['<|end|>', '<|im_start|>', '<|im_end|>', '<|bos|>'];

export const chatml =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

export interface TinyOptions {
  template?: unknown;
  addBos?: boolean;
  config?: Record<string, unknown>;
  /** `null` = no `eos_token`. */
  eos?: string | null;
}

export function tinyFiles({ template, addBos, config, eos = '<|im_end|>' }: TinyOptions = {}) {
  const tokens = [...byteCharacters, ...merges.map((merge) => merge.replace(' ', ''))];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const tokenizerJson: Record<string, unknown> = {
    version: '1.0',
    added_tokens: specials.map((content, i) => ({ id: tokens.length + i, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: 'BPE', vocab, merges, unk_token: null, byte_fallback: false },
  };
  const tokenizerConfig: Record<string, unknown> = {
    bos_token: '<|bos|>',
    ...(eos !== null && { eos_token: eos }),
    pad_token: '<|im_end|>',
    ...(addBos !== undefined && { add_bos_token: addBos }),
    ...(template !== undefined && { chat_template: template }),
    ...config,
  };
  return { tokenizerJson, tokenizerConfig };
}

/** A byte-level BPE of 276 tokens, small enough to read. */
export function tinyTokenizer(options: TinyOptions = {}): Tokenizer {
  const { tokenizerJson, tokenizerConfig } = tinyFiles(options);
  return Tokenizer.fromJson(tokenizerJson, tokenizerConfig);
}
