import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Tensor } from '../../lib/core/tensor.js';
import { writeModelFolder } from '../../lib/formats/export-model.js';
import { type ModelSource, openModel } from '../../lib/formats/model-source.js';
import { writeSafetensors } from '../../lib/formats/safetensors-writer.js';
import { hasShared, sharedPath } from '../shared.js';
import { expectRefused, fileIn, temporaryFolder } from './temporary.js';

const folder = temporaryFolder();
const python = process.env.NODE_FINETUNE_PYTHON;
if (!python)
  console.warn('Written models are not loaded by transformers: set NODE_FINETUNE_PYTHON to a Python with torch and transformers.');

/** A model folder with one tensor, and these files. */
function modelWith(name: string, files: Record<string, string>): string {
  const path = join(folder, name);
  mkdirSync(path);
  writeSafetensors(join(path, 'model.safetensors'), [{ name: 'w', tensor: Tensor.from('f32', [2], [1, 2]) }]);
  for (const [file, text] of Object.entries({ 'config.json': '{"model_type":"llama","torch_dtype":"float32"}', ...files }))
    fileIn(path, file, text);
  return path;
}

const tensorsOf = (source: ModelSource) =>
  (source.weights?.names() ?? []).map((name) => ({ name, tensor: source.weights?.tensor(name) as Tensor }));
const readJson = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

describe('opening', () => {
  it('a config.json, or a folder with nothing else, is a model without weights', () => {
    const path = join(folder, 'bare');
    mkdirSync(path);
    fileIn(path, 'config.json', '{"model_type":"llama","unknown_key":[1]}');
    for (const given of [path, join(path, 'config.json')]) {
      const source = openModel(given);
      expect([source.kind, source.weights, source.tokenizer]).toEqual(['config', undefined, undefined]);
      expect(source.config).toEqual({ model_type: 'llama', unknown_key: [1] });
    }
  });

  it('weights: false reads no weights', () => {
    const path = modelWith('unread', {});
    writeFileSync(join(path, 'model.safetensors'), 'not a model');
    expect(openModel(path, { weights: false })).toMatchObject({ kind: 'safetensors', weights: undefined });
    expectRefused(() => openModel(path), 'ERR_MODEL_CORRUPT', 'model.safetensors', /header/);
  });

  const template = (tokenizerConfig: object, jinja?: string): unknown => {
    const name = `template-${readdirSync(folder).length}`;
    const path = modelWith(name, {
      'tokenizer.json': '{}',
      'tokenizer_config.json': JSON.stringify(tokenizerConfig),
      ...(jinja !== undefined && { 'chat_template.jinja': jinja }),
    });
    const source = openModel(path);
    source.weights?.close();
    return source.tokenizer?.tokenizerConfig.chat_template;
  };

  it('the chat template: the file wins, then a string, then the default of a list', () => {
    const list = [
      { name: 'tool_use', template: 'T' },
      { name: 'default', template: 'D' },
    ];
    expect(template({ chat_template: 'S' }, 'F')).toBe('F');
    expect(template({ chat_template: 'S' })).toBe('S');
    expect(template({ chat_template: list })).toBe('D');
    expect(template({})).toBeUndefined();
  });

  it('through a symbolic link', () => {
    symlinkSync(modelWith('real', {}), join(folder, 'linked'));
    const source = openModel(join(folder, 'linked'));
    expect(source.weights?.names()).toEqual(['w']);
    source.weights?.close();
  });

  it('refuses what is no model, by path', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    expectRefused(() => openModel(join(folder, 'absent')), 'ERR_FILE', 'absent', /no such file/);
    expectRefused(() => openModel(empty), 'ERR_FILE', empty, /is no model. Wanted: a .gguf file/);
    expectRefused(() => openModel(fileIn(folder, 'a.txt', 'x')), 'ERR_FILE', 'a.txt', /is no model/);
    const broken = modelWith('broken', { 'config.json': '{"hidden_size":' });
    expectRefused(() => openModel(broken), 'ERR_MODEL_CORRUPT', 'config.json', /not valid JSON/);
    const list = modelWith('list', { 'config.json': '[]' });
    expectRefused(() => openModel(list), 'ERR_MODEL_CORRUPT', 'config.json', /object was expected/);
    const weightsOnly = modelWith('weights-only', {});
    rmSync(join(weightsOnly, 'config.json'));
    expectRefused(() => openModel(weightsOnly), 'ERR_FILE', weightsOnly, /no config.json/);
    const circle = join(folder, 'circle');
    symlinkSync(circle, circle);
    expectRefused(() => openModel(circle), 'ERR_FILE', circle, /circle/);
  });

  it('refuses pickled weights with the safe way, and files without an index', () => {
    const path = modelWith('pickled', { 'pytorch_model.bin': 'x' });
    rmSync(join(path, 'model.safetensors'));
    expectRefused(() => openModel(path), 'ERR_MODEL_UNSUPPORTED', 'pytorch_model.bin', /save_pretrained/);
    const shards = modelWith('no-index', { 'model-00001-of-00002.safetensors': '', 'model-00002-of-00002.safetensors': '' });
    rmSync(join(shards, 'model.safetensors'));
    expectRefused(() => openModel(shards), 'ERR_FILE', shards, /2 safetensors files.*Download the index/);
  });

  it.skipIf(process.getuid?.() === 0 || process.platform === 'win32')('refuses a file without permission', () => {
    const path = modelWith('locked', {});
    execFileSync('chmod', ['000', join(path, 'model.safetensors')]);
    expectRefused(() => openModel(path), 'ERR_FILE', 'model.safetensors', /ermission denied/);
  });
});

describe('writing', () => {
  it('passes files through byte for byte, patches config.json and puts the template in both places', () => {
    const tokenizerConfig = '{ "chat_template":"T",\n "odd": 1e-5 }';
    const path = modelWith('source', {
      'config.json': '{"model_type":"llama","torch_dtype":"float32","unknown_key":{"a":1},"quantization_config":{}}',
      'tokenizer.json': '{"v": 1}',
      'tokenizer_config.json': tokenizerConfig,
      'generation_config.json': '{"eos_token_id": [1,2]}',
      'special_tokens_map.json': '{ }',
    });
    const source = openModel(path);
    const out = join(folder, 'out');
    expect(writeModelFolder(out, { source, tensors: tensorsOf(source), dtype: 'bf16', config: { tie_word_embeddings: false } })).toEqual([
      'model.safetensors',
    ]);
    expect(readJson(out, 'config.json')).toEqual({
      model_type: 'llama',
      torch_dtype: 'bfloat16',
      unknown_key: { a: 1 },
      tie_word_embeddings: false,
    });
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'special_tokens_map.json'])
      expect(readFileSync(join(out, file), 'utf8'), file).toBe(readFileSync(join(path, file), 'utf8'));
    expect(readFileSync(join(out, 'chat_template.jinja'), 'utf8')).toBe('T');
    const again = openModel(out);
    expect(again.weights?.info('w').dtype).toBe('bf16');
    again.weights?.close();
    source.weights?.close();
  });

  it('a template that is only in its file goes into tokenizer_config.json too; named ones into files of their own', () => {
    const source = openModel(
      modelWith('jinja', { 'tokenizer.json': '{}', 'tokenizer_config.json': '{"a":1}', 'chat_template.jinja': 'J' }),
    );
    const out = join(folder, 'jinja-out');
    writeModelFolder(out, { source, tensors: tensorsOf(source) });
    expect(readJson(out, 'tokenizer_config.json')).toEqual({ a: 1, chat_template: 'J' });
    const list = [
      { name: 'default', template: 'D' },
      { name: 'tool_use', template: 'T' },
      { name: '../x', template: 'X' },
    ];
    const named = openModel(
      modelWith('named', { 'tokenizer.json': '{}', 'tokenizer_config.json': JSON.stringify({ chat_template: list }) }),
    );
    const namedOut = join(folder, 'named-out');
    writeModelFolder(namedOut, { source: named, tensors: tensorsOf(named) });
    expect(readFileSync(join(namedOut, 'chat_template.jinja'), 'utf8')).toBe('D');
    expect(readdirSync(join(namedOut, 'additional_chat_templates'))).toEqual(['tool_use.jinja']);
    source.weights?.close();
    named.weights?.close();
  });

  it('over an existing model only when asked; stale shards go', () => {
    const source = openModel(modelWith('over', {}));
    const out = join(folder, 'over-out');
    const tensors = ['a', 'b'].map((name) => ({ name, tensor: Tensor.from('f32', [2], [1, 2]) }));
    expect(writeModelFolder(out, { source, tensors, maxShardBytes: 8 })).toHaveLength(3);
    expectRefused(() => writeModelFolder(out, { source, tensors }), 'ERR_FILE', out, /not empty/);
    writeModelFolder(out, { source, tensors, overwrite: true });
    expect(readdirSync(out).sort()).toEqual(['config.json', 'model.safetensors']);
    source.weights?.close();
  });
});

describe.skipIf(!hasShared)('real models', () => {
  it('a GGUF file becomes a Hugging Face folder that is complete', () => {
    const source = openModel(sharedPath('models', 'stories260K-variants', 'stories260K-q8_0.gguf'));
    const out = join(folder, 'from-gguf');
    writeModelFolder(out, { source, tensors: tensorsOf(source) });
    source.weights?.close();
    const written = openModel(out);
    expect(written.kind).toBe('safetensors');
    expect(written.weights?.names()).toHaveLength(47);
    expect(written.weights?.info('model.layers.0.self_attn.q_proj.weight').dtype).toBe('f32');
    expect(written.tokenizer?.tokenizerConfig.bos_token).toBe('<s>');
    written.weights?.close();
  });

  it.skipIf(!python)(
    'transformers loads what we write: single, sharded, f16, from GGUF; its logits are those of the original',
    () => {
      const original = sharedPath('models', 'stories260K');
      const outputs: Record<string, string> = {};
      const write = (name: string, from: string, options: { maxShardBytes?: number; dtype?: 'f16' }): void => {
        const source = openModel(from);
        outputs[name] = join(folder, `judge-${name}`);
        writeModelFolder(outputs[name], { source, tensors: tensorsOf(source), ...options });
        source.weights?.close();
      };
      write('single', original, {});
      write('sharded', original, { maxShardBytes: 300_000 });
      write('f16', original, { dtype: 'f16' });
      write('gguf', sharedPath('models', 'stories260K-variants', 'stories260K-f32.gguf'), {});
      cpSync(original, join(folder, 'judge-original'), { recursive: true });
      const script = [
        'import json, sys, torch',
        'from transformers import AutoModelForCausalLM, AutoTokenizer',
        'def logits(path):',
        '    ids = AutoTokenizer.from_pretrained(path)("Once upon a time, there was", return_tensors="pt").input_ids',
        '    model, info = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)',
        '    assert not info["missing_keys"] and not info["unexpected_keys"], info',
        '    return model(ids).logits',
        'base = logits(sys.argv[1])',
        'print(json.dumps({name: float((logits(path) - base).abs().max()) for name, path in json.loads(sys.argv[2]).items()}))',
      ].join('\n');
      const printed = execFileSync(python as string, ['-c', script, join(folder, 'judge-original'), JSON.stringify(outputs)], {
        encoding: 'utf8',
      });
      const differences = JSON.parse(printed.trim().split('\n').at(-1) as string);
      expect(differences).toMatchObject({ single: 0, sharded: 0, gguf: 0 });
      expect(differences.f16).toBeLessThan(0.05);
      expect(existsSync(join(outputs.sharded as string, 'model.safetensors.index.json'))).toBe(true);
    },
    120_000,
  );
});
