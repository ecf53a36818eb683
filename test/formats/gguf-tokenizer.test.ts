import { readFileSync } from 'node:fs';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { GgufMetadata, type GgufValue } from '../../lib/formats/gguf-metadata.js';
import { preTokenizations } from '../../lib/formats/gguf-pre-tokenizers.js';
import { tokenizerOf } from '../../lib/formats/gguf-tokenizer.js';
import { openModel, type TokenizerFiles } from '../../lib/formats/model-source.js';
import { hasShared, sharedPath } from '../shared.js';
import { readPieces } from './sentencepiece-model.js';
import { expectRefused } from './temporary.js';

const oddTexts = [
  '',
  ' ',
  '  two  spaces ',
  '\n\n\ttabs\r\n',
  'naïve café ÅÄÖ',
  '日本語のテキスト',
  '🙂👩‍👩‍👧 emoji',
  "don't WE'LL I'm",
  '1234567890 3.14',
  '<s>hi</s> <|im_start|>user\nhello<|im_end|>',
  '▁literal',
  'مرحبا بالعالم',
  'a\u0301 combining',
  '\u0000\u0001',
  'x'.repeat(300),
  '{"json": [1, 2, {"k": null}]}',
  'def f(x):\n    return x**2  # comment',
  '$$\\sum_{i=0}^n x_i$$',
];

const texts = (): string[] => [
  ...oddTexts,
  ...(JSON.parse(readFileSync(sharedPath('data', 'corpus', 'tinystories_1000.json'), 'utf8')) as string[]).slice(0, 40),
];

function expectSameIds(ours: TokenizerFiles | undefined, reference: TokenizerFiles | undefined): void {
  const a = new Tokenizer(ours?.tokenizerJson as object, ours?.tokenizerConfig as object);
  const b = new Tokenizer(reference?.tokenizerJson as object, reference?.tokenizerConfig as object);
  for (const text of texts()) {
    const { ids } = a.encode(text);
    expect(ids, JSON.stringify(text.slice(0, 40))).toEqual(b.encode(text).ids);
    if (ids.length === 0) continue;
    const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false };
    expect(a.decode(ids, options)).toBe(b.decode(ids, options));
  }
}

const filesOf = (...folder: string[]): TokenizerFiles => ({
  tokenizerJson: JSON.parse(readFileSync(sharedPath(...folder, 'tokenizer.json'), 'utf8')),
  tokenizerConfig: JSON.parse(readFileSync(sharedPath(...folder, 'tokenizer_config.json'), 'utf8')),
});

interface BpeModel {
  vocab: Record<string, number>;
  merges: (string | string[])[];
}

describe.skipIf(!hasShared)('vocabularies of real models give the ids of their tokenizer.json', () => {
  it('stories260K (SentencePiece, 512 tokens)', () => {
    const gguf = openModel(sharedPath('models', 'stories260K-variants', 'stories260K-f32.gguf'), { weights: false });
    expectSameIds(gguf.tokenizer, filesOf('models', 'stories260K'));
    expect(gguf.tokenizer?.tokenizerConfig).toMatchObject({
      bos_token: '<s>',
      eos_token: '</s>',
      unk_token: '<unk>',
      add_bos_token: true,
      add_eos_token: false,
    });
  });

  it('SmolLM2 (byte-level BPE, smollm): the same tokenizer.json, chat template included', () => {
    const gguf = openModel(sharedPath('models', 'smollm2-135m-instruct', 'SmolLM2-135M-Instruct.Q4_1.gguf'), { weights: false });
    const reference = filesOf('models', 'smollm2-135m-instruct');
    expect(gguf.tokenizer?.tokenizerJson).toEqual(reference.tokenizerJson);
    for (const key of ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'chat_template'])
      expect(gguf.tokenizer?.tokenizerConfig[key], key).toBe(reference.tokenizerConfig[key]);
    expectSameIds(gguf.tokenizer, reference);
  });

  it('Llama 2 (SentencePiece, 32,000 tokens, from the scores of tokenizer.model)', () => {
    const pieces = readPieces(sharedPath('tokenizers', 'llama2-spm', 'tokenizer.model'));
    expect(pieces).toHaveLength(32000);
    const metadata = new GgufMetadata(
      new Map<string, GgufValue>([
        ['tokenizer.ggml.model', 'llama'],
        ['tokenizer.ggml.tokens', pieces.map((p) => p.text)],
        ['tokenizer.ggml.scores', pieces.map((p) => p.score)],
        ['tokenizer.ggml.token_type', pieces.map((p) => p.type)],
        ['tokenizer.ggml.bos_token_id', 1],
        ['tokenizer.ggml.eos_token_id', 2],
        ['tokenizer.ggml.unknown_token_id', 0],
      ]),
      'llama2',
    );
    expectSameIds(tokenizerOf(metadata, 'llama2'), filesOf('tokenizers', 'llama2-spm'));
  });

  it('GPT-2 (byte-level BPE, gpt-2)', () => {
    const reference = filesOf('tokenizers', 'gpt2');
    const { vocab, merges } = reference.tokenizerJson.model as BpeModel;
    const tokens = Object.entries(vocab)
      .sort((a, b) => a[1] - b[1])
      .map(([token]) => token);
    const metadata = new GgufMetadata(
      new Map<string, GgufValue>([
        ['tokenizer.ggml.model', 'gpt2'],
        ['tokenizer.ggml.pre', 'gpt-2'],
        ['tokenizer.ggml.tokens', tokens],
        ['tokenizer.ggml.token_type', tokens.map((t) => (t === '<|endoftext|>' ? 3 : 1))],
        ['tokenizer.ggml.merges', merges.map((m) => (typeof m === 'string' ? m : m.join(' ')))],
      ]),
      'gpt2',
    );
    expectSameIds(tokenizerOf(metadata, 'gpt2'), reference);
  });
});

describe('pieces of the pre-tokenizers', () => {
  const bytes = Array.from({ length: 256 }, (_, i) => i);
  // GPT-2's printable stand-ins for bytes.
  const standIns = new Map<number, string>();
  for (const b of bytes) if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174) standIns.set(b, String.fromCharCode(b));
  for (const b of bytes) if (!standIns.has(b)) standIns.set(b, String.fromCharCode(256 + standIns.size - 188));
  const space = standIns.get(32) as string;

  // A token per byte and merges that join whatever stands in one piece.
  const piecesOf = (pre: string, text: string): string[] => {
    const metadata = new GgufMetadata(
      new Map<string, GgufValue>([
        ['tokenizer.ggml.model', 'gpt2'],
        ['tokenizer.ggml.pre', pre],
        ['tokenizer.ggml.tokens', [...standIns.values(), ...joined]],
        ['tokenizer.ggml.merges', merges],
        ['tokenizer.ggml.add_bos_token', false],
      ]),
      pre,
    );
    const files = tokenizerOf(metadata, pre);
    return new Tokenizer(files?.tokenizerJson as object, files?.tokenizerConfig as object).tokenize(text);
  };
  const joined = ['12', '123', `${space}a`, 'ab', "n'", "'t", 'aB'];
  const merges = ['1 2', '12 3', `${space} a`, 'a b', "n '", "' t", 'a B'];

  it.each([
    ['gpt-2', '123', ['123']],
    ['smollm', '123', ['1', '2', '3']],
    ['llama-bpe', '1231', ['123', '1']],
    ['qwen2', '123', ['1', '2', '3']],
    ['tekken', 'aB', ['a', 'B']],
    ['llama-bpe', 'aB', ['aB']],
    ['gpt-4o', 'aBab', ['a', 'B', 'ab']],
    ['qwen2', "n't", ['n', "'t"]],
    ['default', ' ab', [`${space}a`, 'b']],
  ])('%s: %s', (pre, text, expected) => {
    expect(piecesOf(pre, text)).toEqual(expected);
  });

  it('every entry works', () => {
    for (const pre of Object.keys(preTokenizations)) expect(piecesOf(pre, 'ab 12').length).toBeGreaterThan(1);
  });
});

describe('unusable vocabularies', () => {
  const base: [string, GgufValue][] = [
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.tokens', ['a', 'b', 'ab']],
    ['tokenizer.ggml.merges', ['a b']],
  ];
  const refused: [string, [string, GgufValue][], string, RegExp][] = [
    ['another kind', [['tokenizer.ggml.model', 't5']], 'ERR_MODEL_UNSUPPORTED', /kind "t5".*tokenizer.json/],
    ['another pre-tokenizer', [['tokenizer.ggml.pre', 'constructor']], 'ERR_MODEL_UNSUPPORTED', /pre-tokenizer is "constructor"/],
    ['a malformed merge', [['tokenizer.ggml.merges', ['ab']]], 'ERR_MODEL_CORRUPT', /two tokens/],
    ['a special id out of range', [['tokenizer.ggml.bos_token_id', 3]], 'ERR_MODEL_CORRUPT', /bos_token_id is 3, the vocabulary has 3/],
    ['types of another length', [['tokenizer.ggml.token_type', [1]]], 'ERR_MODEL_CORRUPT', /1 entries for 3 tokens/],
    [
      'NaN scores',
      [
        ['tokenizer.ggml.model', 'llama'],
        ['tokenizer.ggml.scores', [0, Number.NaN, 0]],
      ],
      'ERR_MODEL_CORRUPT',
      /scores must be an array of finite numbers/,
    ],
    ['tokens that are numbers', [['tokenizer.ggml.tokens', [1, 2, 3]]], 'ERR_MODEL_CORRUPT', /array of strings/],
  ];
  it.each(refused)('%s', (_, changes, code, says) => {
    expectRefused(() => tokenizerOf(new GgufMetadata(new Map([...base, ...changes]), 'm.gguf'), 'm.gguf'), code, 'm.gguf', says);
  });

  it('a token called __proto__ keeps its id', () => {
    const metadata = new GgufMetadata(new Map([...base, ['tokenizer.ggml.tokens', ['a', 'b', 'ab', '__proto__']]]), 'm.gguf');
    const model = tokenizerOf(metadata, 'm.gguf')?.tokenizerJson.model as BpeModel;
    expect(Object.entries(model.vocab).at(-1)).toEqual(['__proto__', 3]);
  });

  it('none at all is no error', () => {
    expect(tokenizerOf(new GgufMetadata(new Map(), 'm.gguf'), 'm.gguf')).toBeUndefined();
  });
});
