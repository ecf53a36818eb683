import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DataOptions, loadDataset } from '../../lib/data/dataset.js';
import { inspectData, maskSegments } from '../../lib/data/inspect.js';
import { encodePair, encodeSpans } from '../../lib/data/segments.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { hasShared, sharedPath } from '../shared.js';
import { chatml, tinyTokenizer } from './tiny-tokenizer.js';

const options: DataOptions = { maxLength: 400, cacheDir: false };

/** Every example with its learned text in brackets. */
async function shown(rows: unknown[], tokenizer: Tokenizer, more: Partial<DataOptions> = {}): Promise<string[]> {
  const { examples } = await loadDataset(rows, tokenizer, { ...options, ...more });
  return examples.map((example) =>
    maskSegments(example, tokenizer)
      .map(({ text, learned }) => (learned ? `[${text}]` : text))
      .join(''),
  );
}

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string, more: object = {}) => ({ role: 'assistant', content, ...more });

describe('chat rows', () => {
  const tokenizer = tinyTokenizer({ template: chatml });

  it('learns the turns of the assistant and what ends them', async () => {
    const messages = [{ role: 'system', content: 's' }, user('a'), assistant('hello'), user('b'), assistant('world'), user('c')];
    expect(await shown([{ messages }], tokenizer)).toEqual([
      '<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[hello<|im_end|>\n]' +
        '<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n[world<|im_end|>\n]',
    ]);
  });

  it('learns all on demand', async () => {
    const [text] = await shown([{ messages: [user('a'), assistant('b'), user('c')] }], tokenizer, { trainOn: 'all' });
    expect(text).toMatch(/^\[<\|im_start\|>user\na.*c<\|im_end\|>\n\]$/s);
  });

  it('obeys the flags of single messages', async () => {
    const messages = [
      user('a'),
      assistant('first', { loss_weight: 0 }),
      { role: 'user', content: 'b', train: true },
      assistant('second', { weight: 1 }),
    ];
    const [text] = await shown([{ messages }], tokenizer);
    expect(text).toContain('assistant\nfirst');
    expect(text).toContain('[<|im_start|>user\nb<|im_end|>\n]');
    expect(text).toContain('[second<|im_end|>\n]');
  });

  it('joins parts of content', async () => {
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'he' },
          { type: 'text', value: 'llo' },
        ],
      },
      assistant('ok'),
    ];
    const [text] = await shown([{ messages }], tokenizer);
    expect(text).toContain('user\nhello<|im_end|>');
  });

  it('reads Alpaca, ShareGPT and lists of messages as the same conversation', async () => {
    const [expected] = await shown([{ messages: [user('hello\nworld'), assistant('ok')] }], tokenizer);
    expect(await shown([{ instruction: 'hello', input: 'world', output: 'ok' }], tokenizer)).toEqual([expected]);
    const conversations = [
      { from: 'human', value: 'hello\nworld' },
      { from: 'gpt', value: 'ok' },
    ];
    expect(await shown([{ conversations }], tokenizer)).toEqual([expected]);
    expect(await shown([{ prompt: [user('hello\nworld')], completion: [assistant('ok')] }], tokenizer)).toEqual([expected]);
    expect(await shown([{ prompt: 'hello\nworld', completion: 'ok' }], tokenizer, { promptsAsChat: true })).toEqual([expected]);
  });

  it('puts system and history of Alpaca first, and makes a row of every instance', async () => {
    const row = { instruction: 'i', output: 'o', system: 's', history: [['q', 'r']] };
    const [text] = await shown([row], tokenizer);
    expect(text).toContain('system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[r<|im_end|>\n]');
    const instances = [
      { input: '1', output: 'one' },
      { input: '2', output: 'two' },
    ];
    const two = await shown([{ instruction: 'i', instances }], tokenizer);
    expect(two.map((example) => example.match(/\[(\w+)/)?.[1])).toEqual(['one', 'two']);
  });

  it('begins with the answer where the assistant speaks first, even if the template puts a system text in front', async () => {
    const template = `{% if messages and messages[0].role != 'system' %}<|im_start|>system\nbe kind<|im_end|>\n{% endif %}${chatml}`;
    const [text] = await shown([{ messages: [assistant('hello')] }], tinyTokenizer({ template }));
    expect(text).toBe('<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>assistant\n[hello<|im_end|>\n]');
  });
});

describe('templates that break prefixes', () => {
  const row = {
    messages: [user('a'), assistant('<think>\nhm\n</think>\n\nfirst'), user('b'), assistant('<think>\nso\n</think>\n\nsecond')],
  };
  const split = "{%- set parts = m.content.split('</think>') %}";

  it('splits conversations whose history loses its thinking', async () => {
    const template =
      `{%- for m in messages %}${split}{{- '<|im_start|>' + m.role + '\\n' }}` +
      "{%- if loop.last %}{{- m.content }}{%- else %}{{- parts[-1].lstrip('\\n') }}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}" +
      "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
    const tokenizer = tinyTokenizer({ template });
    expect(await shown([row], tokenizer)).toEqual([
      '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[<think>\nhm\n</think>\n\nfirst<|im_end|>\n]',
      '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nfirst<|im_end|>\n<|im_start|>user\nb<|im_end|>\n' +
        '<|im_start|>assistant\n[<think>\nso\n</think>\n\nsecond<|im_end|>\n]',
    ]);
    const { report, examples } = await loadDataset([row], tokenizer, options);
    expect(report.warnings.join()).toMatch(/1 conversations gave several examples/);
    expect(examples.map((example) => example.row)).toEqual([0, 0]);
  });

  it('learns thoughts where the generation prompt has an empty thinking block', async () => {
    const template = `${chatml.slice(0, -"{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}".length)}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}{% endif %}`;
    const [text] = await shown([row], tinyTokenizer({ template }));
    expect(text).toContain('assistant\n<think>\n[hm\n</think>\n\nfirst<|im_end|>\n]<|im_start|>user');
    expect(text).toContain('assistant\n<think>\n[so\n</think>\n\nsecond<|im_end|>\n]');
  });

  it('refuses one that cannot be followed, naming the row', async () => {
    const backwards = "{% for m in messages[::-1] %}{{ '<' + m.role + '>' + m.content }}{% endfor %}";
    const two = { messages: [user('a'), assistant('b')] };
    await expect(loadDataset([two], tinyTokenizer({ template: backwards }), options)).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringMatching(/^data\[0\]: turn 1 \(assistant\) cannot be found/),
    });
    expect(await shown([two], tinyTokenizer({ template: backwards }), { trainOn: 'all' })).toEqual(['[<assistant>b<user>a]']);
  });

  it('refuses to learn tool calls that the template leaves out', async () => {
    const calls = [{ type: 'function', function: { name: 'weather', arguments: '{"city": "Rome"}' } }];
    const rows = [{ messages: [user('a'), { role: 'assistant', content: null, tool_calls: calls }] }];
    await expect(loadDataset(rows, tinyTokenizer({ template: chatml }), options)).rejects.toThrow(
      /leaves out the call of the tool "weather"/,
    );
    const showing = chatml.replace('m.content +', "m.content + (m.tool_calls | tojson if m.tool_calls else '') +");
    const [text] = await shown(rows, tinyTokenizer({ template: showing }));
    expect(text).toContain('"arguments": {"city": "Rome"}');
  });
});

describe('plain rows', () => {
  const plain = tinyTokenizer();

  it('learns completion and EOS, or all', async () => {
    expect(await shown([{ prompt: 'hello', completion: ' world' }], plain)).toEqual(['hello[ world<|im_end|>]']);
    expect(await shown([{ prompt: 'hello', completion: ' world' }], plain, { trainOn: 'all' })).toEqual(['[hello world<|im_end|>]']);
    expect(await shown([{ prompt: 'hello', completion: ' world<|im_end|>' }], plain)).toEqual(['hello[ world<|im_end|>]']);
    expect(await shown([{ prompt: 'hello', completion: ' world' }], plain, { appendEos: false })).toEqual(['hello[ world]']);
  });

  it('keeps prompts as generation will see them', () => {
    const prompt = 'hello\n\n';
    const pair = encodePair(plain, prompt, '\nworld');
    expect(pair.ids.slice(0, pair.learned.indexOf(1))).toEqual(plain.encode(prompt));
    expect(plain.decode(pair.ids)).toBe('hello\n\n\nworld');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary', minLength: 1 }), (a, b) => {
        const { ids, learned } = encodePair(plain, a, b);
        expect(plain.decode(ids)).toBe(a + b);
        expect(ids.slice(0, learned.indexOf(1))).toEqual(plain.encode(a));
      }),
    );
  });

  it('finds spans in the tokens of the whole text', () => {
    const words = fc.array(fc.constantFrom('hello', ' world', '\n', ' the', 'user', '😀', ' ', 'wor', 'ld', '<|im_end|>'), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(words, words, words, (a, b, c) => {
        const [before, middle, after] = [a.join(''), b.join(''), c.join('')];
        const text = before + middle + after;
        const { ids, learned, inexact } = encodeSpans(plain, text, [{ start: before.length, end: before.length + middle.length }]);
        expect(ids).toEqual(plain.encode(text));
        const [first, last] = [learned.indexOf(1), learned.lastIndexOf(1)];
        expect(learned.subarray(first, last + 1).every((flag) => flag === 1)).toBe(true);
        const found = plain.decode(ids.slice(first, last + 1));
        if (inexact === 0) expect(found).toBe(middle);
        else expect(found).toContain(middle);
      }),
    );
  });

  it('starts with BOS where the tokenizer does', async () => {
    const adding = tinyTokenizer({ addBos: true });
    expect(await shown([{ text: 'hello' }, { text: '<|bos|>hello' }], adding)).toEqual(Array(2).fill('[<|bos|>hello<|im_end|>]'));
    expect(await shown([{ prompt: 'hello', completion: ' world' }], adding)).toEqual(['<|bos|>hello[ world<|im_end|>]']);
    await expect(loadDataset([{ text: '<|bos|><|bos|>hello' }], adding, options)).rejects.toThrow(/begin with <\|bos\|> twice/);
  });

  it('gives Alpaca rows their own prompt where there is no chat template', async () => {
    const [text] = await shown([{ instruction: 'hello', input: '', output: 'ok' }], plain);
    expect(text).toMatch(/^Below is an instruction.*### Instruction:\nhello\n\n### Response:\n\[ok<\|im_end\|>\]$/s);
    const { report } = await loadDataset([{ instruction: 'hello', output: 'ok' }], plain, options);
    expect(report.warnings.join()).toMatch(/no chat template/);
    await expect(loadDataset([{ messages: [user('a'), assistant('b')] }], plain, options)).rejects.toMatchObject({
      code: 'ERR_CONFIG_INVALID',
    });
  });
});

it('inspect shows one example and its mask', async () => {
  const { report, sample } = await inspectData([{ prompt: 'hello', completion: ' world' }], tinyTokenizer(), options);
  expect(report.examples).toBe(1);
  expect(sample).toEqual({
    row: 0,
    tokens: 3,
    segments: [
      { text: 'hello', learned: false },
      { text: ' world<|im_end|>', learned: true },
    ],
  });
  await expect(inspectData([{ text: 'hello' }], tinyTokenizer(), options, 3)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
});

describe.skipIf(!hasShared)('real templates and vocabularies', () => {
  const load = (more: object, ...folder: string[]): Tokenizer => {
    const [json, config] = ['tokenizer.json', 'tokenizer_config.json'].map((name) =>
      JSON.parse(readFileSync(sharedPath(...folder, name), 'utf8')),
    );
    return Tokenizer.fromJson(json, { ...config, ...more });
  };

  it("minimind's thinking template: answers, thoughts and tool calls", async () => {
    const tokenizer = load({}, 'tokenizers', 'minimind');
    const empty = '<think>\n\n</think>\n\n';
    expect(await shown([{ messages: [user('hi'), assistant('hello'), user('more'), assistant('world')] }], tokenizer)).toEqual([
      `<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n${empty}[hello<|im_end|>\n]` +
        `<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n${empty}[world<|im_end|>\n]`,
    ]);
    const thinking = [{ messages: [user('hi'), assistant('hello', { reasoning_content: 'greet' })] }];
    expect(await shown(thinking, tokenizer)).toEqual([
      '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n[greet\n</think>\n\nhello<|im_end|>\n]',
    ]);
    const lines = readFileSync(sharedPath('data', 'tool-calling', 'reason_tool_use_demo_50.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const rows = lines.slice(0, 8).map((line) => JSON.parse(line));
    const tools = await loadDataset(rows, tokenizer, { ...options, maxLength: 4096 });
    expect(tools.report).toMatchObject({ format: 'messages', examples: 8, warnings: [], eosTrained: true });
    const glaive = JSON.parse(readFileSync(sharedPath('data', 'tool-calling', 'glaive_toolcall_en_demo.json'), 'utf8')).slice(0, 1);
    const [text] = await shown(glaive, tokenizer, { maxLength: 2048 });
    expect(text).toContain('[<tool_call>\n{"name": "search_recipes"');
  });

  it('SentencePiece: answers inside a Llama 2 style template', async () => {
    const template =
      "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}" +
      "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}";
    const tokenizer = load({ chat_template: template }, 'tokenizers', 'llama2-spm');
    const rows = [{ messages: [user('What is this?'), assistant('A test.'), user('Sure?'), assistant('Yes, 世界 😀')] }];
    const { examples, report } = await loadDataset(rows, tokenizer, options);
    expect(report.warnings).toEqual([]);
    const segments = maskSegments(examples[0] as never, tokenizer);
    expect(segments.filter((s) => s.learned).map((s) => s.text.trim())).toEqual(['A test. </s>', 'Yes, 世界 😀 </s>']);
    expect(examples[0]?.inputIds.filter((id) => id === tokenizer.bosTokenId).length).toBe(2);
    const [pair] = await shown([{ prompt: 'Say:', completion: ' yes' }], load({}, 'tokenizers', 'llama2-spm'));
    expect(pair).toBe('<s> Say:[ yes</s>]');
  });
});
