import { readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StreamingDecoder, Tokenizer } from '../../lib/data/tokenizer.js';
import { hasShared, sharedPath } from '../shared.js';
import { chatml, tinyFiles, tinyTokenizer } from './tiny-tokenizer.js';

const tiny = tinyTokenizer({ template: chatml });

function stream(tokenizer: Tokenizer, ids: number[]): string {
  const decoder = new StreamingDecoder(tokenizer);
  return ids.map((id) => decoder.push(id)).join('') + decoder.flush();
}

describe('encode and decode', () => {
  it('merges as the vocabulary says', () => {
    const hello = tiny.encode('hello world');
    expect(hello.map((id) => tiny.tokenOf(id))).toEqual(['hello', 'Ġworld']);
    expect(tiny.encode('')).toEqual([]);
    expect(tiny.decode([])).toBe('');
    expect(tiny.vocabSize).toBe(256 + 16 + 4);
  });

  it('gives back any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(tiny.decode(tiny.encode(text))).toBe(text);
      }),
    );
  });

  it('takes special tokens in the text as themselves, and leaves them out on demand', () => {
    const ids = tiny.encode('hello<|im_end|>');
    expect(ids.at(-1)).toBe(tiny.eosTokenId);
    expect(tiny.decode(ids)).toBe('hello<|im_end|>');
    expect(tiny.decode(ids, { skipSpecialTokens: true })).toBe('hello');
  });

  it('gives nothing for ids beyond the vocabulary, which a padded model may sample', () => {
    expect(tiny.decode([...tiny.encode('hello'), 5000])).toBe('hello');
    expect(stream(tiny, [...tiny.encode('hello'), 5000])).toBe('hello');
  });

  it('adds BOS only where config or post-processor say so, and never twice', () => {
    expect(tiny.addsBos).toBe(false);
    expect(tiny.encode('hello', { addSpecialTokens: true })).toEqual(tiny.encode('hello'));
    const adding = tinyTokenizer({ addBos: true });
    const bos = adding.bosTokenId as number;
    expect(adding.encode('hello', { addSpecialTokens: true })).toEqual([bos, ...adding.encode('hello')]);
    expect(adding.encode('<|bos|>hello', { addSpecialTokens: true })).toEqual([bos, ...adding.encode('hello')]);

    const { tokenizerJson, tokenizerConfig } = tinyFiles();
    const single = [{ SpecialToken: { id: '<|bos|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }];
    const processor = {
      type: 'TemplateProcessing',
      single,
      pair: single,
      special_tokens: { '<|bos|>': { id: '<|bos|>', ids: [bos], tokens: ['<|bos|>'] } },
    };
    expect(Tokenizer.fromJson({ ...tokenizerJson, post_processor: processor }, tokenizerConfig).addsBos).toBe(true);
    expect(Tokenizer.fromJson({ ...tokenizerJson, post_processor: processor }, { ...tokenizerConfig, add_bos_token: false }).addsBos).toBe(
      false,
    );
  });

  it('knows tokens that only the config lists', () => {
    const decoder = { 276: { content: '<tool>', special: true } };
    const tokenizer = tinyTokenizer({ config: { added_tokens_decoder: decoder } });
    expect(tokenizer.encode('hello<tool>').at(-1)).toBe(276);
    expect(tokenizer.vocabSize).toBe(277);
  });

  it('hashes what decides about tokens', () => {
    expect(tinyTokenizer({ template: chatml }).hash).toBe(tiny.hash);
    expect(tinyTokenizer({ template: `${chatml} ` }).hash).not.toBe(tiny.hash);
    expect(tinyTokenizer().hash).not.toBe(tiny.hash);
  });
});

describe('broken files', () => {
  const { tokenizerJson, tokenizerConfig } = tinyFiles();
  const model = tokenizerJson.model as Record<string, unknown>;
  const cases: [string, unknown, unknown][] = [
    ['no object', [], tokenizerConfig],
    ['no model', { ...tokenizerJson, model: undefined }, tokenizerConfig],
    ['no vocabulary', { ...tokenizerJson, model: { ...model, vocab: undefined } }, tokenizerConfig],
    ['an empty vocabulary', { ...tokenizerJson, added_tokens: [], model: { ...model, vocab: {} } }, tokenizerConfig],
    ['a huge id', { ...tokenizerJson, model: { ...model, vocab: { a: 2 ** 53 } } }, tokenizerConfig],
    ['a negative id', { ...tokenizerJson, model: { ...model, vocab: { a: -1 } } }, tokenizerConfig],
    ['merges that are none', { ...tokenizerJson, model: { ...model, merges: 7 } }, tokenizerConfig],
    ['added tokens that are none', { ...tokenizerJson, added_tokens: [3] }, tokenizerConfig],
    ['an unknown decoder', { ...tokenizerJson, decoder: { type: 'Rot13' } }, tokenizerConfig],
    ['an EOS that is not in the vocabulary', tokenizerJson, { ...tokenizerConfig, eos_token: '</s>' }],
    ['a template that is none', tokenizerJson, { ...tokenizerConfig, chat_template: 5 }],
    ['a config that is none', tokenizerJson, 'x'],
  ];
  it.each(cases)('%s', (_, json, config) => {
    expect(() => Tokenizer.fromJson(json as never, config as never)).toThrow(expect.objectContaining({ code: 'ERR_MODEL_CORRUPT' }));
  });
});

describe('chat template', () => {
  const messages = [{ role: 'user', content: 'hello' }];

  it('renders', () => {
    expect(tiny.applyChatTemplate(messages)).toBe('<|im_start|>user\nhello<|im_end|>\n');
    expect(tiny.applyChatTemplate(messages, { addGenerationPrompt: true })).toBe(
      '<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n',
    );
  });

  it('gives templates their variables', () => {
    const template =
      '{{ bos_token }}{{ enable_thinking }}{% for i in range(2) %}{{ i }}{% endfor %}{{ tools | length }}{{ strftime_now("%d %b %Y") }}';
    const text = tinyTokenizer({ template }).applyChatTemplate(messages, { tools: [{}], variables: { enable_thinking: 7 } });
    expect(text).toBe('<|bos|>701126 Jul 2024');
    expect(tinyTokenizer({ template }).templateUsesDate).toBe(true);
  });

  it('chooses among named templates', () => {
    const template = [
      { name: 'default', template: 'plain' },
      { name: 'tool_use', template: 'tools' },
    ];
    const tokenizer = tinyTokenizer({ template });
    expect(tokenizer.chatTemplate).toBe('plain');
    expect(tokenizer.applyChatTemplate(messages)).toBe('plain');
    expect(tokenizer.applyChatTemplate(messages, { tools: [{}] })).toBe('tools');
  });

  it('says why it cannot', () => {
    const refusing = tinyTokenizer({ template: "{{ raise_exception('no users, please') }}" });
    expect(() => refusing.applyChatTemplate(messages)).toThrow(/no users, please/);
    expect(() => refusing.applyChatTemplate(messages)).toThrow(expect.objectContaining({ code: 'ERR_DATA_INVALID' }));
    const broken = tinyTokenizer({ template: '{% for %}' });
    expect(() => broken.applyChatTemplate(messages)).toThrow(expect.objectContaining({ code: 'ERR_MODEL_UNSUPPORTED' }));
    expect(() => tinyTokenizer().applyChatTemplate(messages)).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }));
  });
});

describe('StreamingDecoder', () => {
  it('never gives half a character', () => {
    const decoder = new StreamingDecoder(tiny);
    const pieces = tiny.encode('a😀é').map((id) => decoder.push(id));
    expect(pieces).toEqual(['a', '', '', '', '😀', '', 'é']);
    expect(decoder.flush()).toBe('');
  });

  it('gives a broken character at the end as a replacement', () => {
    const decoder = new StreamingDecoder(tiny);
    expect(
      tiny
        .encode('😀')
        .slice(0, 2)
        .map((id) => decoder.push(id))
        .join(''),
    ).toBe('');
    expect(decoder.flush()).toBe('\ufffd');
    expect(decoder.push(tiny.encode('hello')[0] as number)).toBe('hello');
  });

  it('equals decode for any tokens', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(stream(tiny, tiny.encode(text))).toBe(tiny.decode(tiny.encode(text), { skipSpecialTokens: true }));
      }),
    );
  });
});

describe.skipIf(!hasShared)('real vocabularies', () => {
  const read = (...parts: string[]) => JSON.parse(readFileSync(sharedPath(...parts), 'utf8'));
  const folder = (name: string): [Record<string, unknown>, Record<string, unknown>] => [
    read('tokenizers', name, 'tokenizer.json'),
    read('tokenizers', name, 'tokenizer_config.json'),
  ];
  const samples = () => [
    ...read('data', 'instruction', 'alpaca_zh_demo.json')
      .slice(0, 30)
      .map((row: { output: string }) => row.output),
    ...read('data', 'corpus', 'wikitext_1000.json').slice(0, 30),
    '  two  spaces\n\n  and \u2581 the mark \u2581\u2581x 😀</s> y',
  ];

  it('llama2-spm: cutting at spaces changes no id; streaming equals decode', () => {
    const [json, config] = folder('llama2-spm');
    const tokenizer = Tokenizer.fromJson(json, config);
    const library = new Library(json, config);
    for (const text of samples()) {
      const ids = tokenizer.encode(text);
      expect(ids).toEqual(library.encode(text, { add_special_tokens: false }).ids);
      expect(stream(tokenizer, ids)).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
    }
    expect(tokenizer.addsBos).toBe(true);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const ids = tokenizer.encode(text);
        expect(stream(tokenizer, ids)).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
      }),
    );
  });

  it.each(['gpt2', 'minimind'])('%s gives texts back', (name) => {
    const tokenizer = Tokenizer.fromJson(...folder(name));
    for (const text of samples()) {
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(stream(tokenizer, ids)).toBe(text);
    }
  });
});
