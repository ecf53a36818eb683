import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Tensor } from '../../lib/core/tensor.js';
import { readAdapter, writeAdapter } from '../../lib/formats/peft-adapter.js';
import { writeSafetensors } from '../../lib/formats/safetensors-writer.js';
import { assertShapes, shapeMismatches } from '../../lib/formats/tensor-shapes.js';
import { hasShared, sharedPath } from '../shared.js';
import { errorOf, expectRefused, fileIn, temporaryFolder } from './temporary.js';

const folder = temporaryFolder();
const python = process.env.NODE_FINETUNE_PYTHON;
if (!python) console.warn('Adapters are not exchanged with peft: set NODE_FINETUNE_PYTHON to a Python with torch, transformers and peft.');
const prefix = 'base_model.model.model.layers.0.self_attn.q_proj';
const a = Tensor.from('f32', [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
const b = Tensor.from('f32', [4, 2], [0, 0, 0, 0, 0, 0, 0, -1.5]);
const tensors: [string, Tensor][] = [
  [`${prefix}.lora_A.weight`, a],
  [`${prefix}.lora_B.weight`, b],
];
const config = { r: 2, lora_alpha: 4, target_modules: ['q_proj'], base_model_name_or_path: 'some/model', rank_pattern: { k_proj: 4 } };

/** An adapter folder with this configuration and valid weights. */
function adapterWith(name: string, adapterConfig: unknown): string {
  const path = join(folder, name);
  mkdirSync(path);
  fileIn(path, 'adapter_config.json', typeof adapterConfig === 'string' ? adapterConfig : JSON.stringify(adapterConfig));
  writeSafetensors(
    join(path, 'adapter_model.safetensors'),
    tensors.map(([tensorName, tensor]) => ({ name: tensorName, tensor })),
  );
  return path;
}

describe('a PEFT adapter folder', () => {
  it('round-trips tensors and configuration', () => {
    const path = join(folder, 'round');
    writeAdapter(path, config, tensors, { notes: 'Trained on 3 rows.' });
    expect(readdirSync(path).sort()).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors']);
    const written = JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'));
    expect(written).toMatchObject({
      peft_type: 'LORA',
      task_type: 'CAUSAL_LM',
      inference_mode: true,
      bias: 'none',
      fan_in_fan_out: false,
      use_dora: false,
      modules_to_save: null,
      alpha_pattern: {},
      ...config,
    });
    expect(readFileSync(join(path, 'README.md'), 'utf8')).toMatch(
      /base_model: "some\/model"[\s\S]*rank 2, alpha 4, on q_proj[\s\S]*Trained on 3 rows/,
    );
    const adapter = readAdapter(path);
    expect(adapter.config).toMatchObject({
      peft_type: 'LORA',
      r: 2,
      lora_alpha: 4,
      lora_dropout: 0,
      use_rslora: false,
      target_modules: ['q_proj'],
      rank_pattern: { k_proj: 4 },
    });
    expect([...adapter.tensors.keys()].sort()).toEqual(tensors.map(([name]) => name).sort());
    for (const [name, tensor] of tensors) expect([...(adapter.tensors.get(name)?.read() ?? [])]).toEqual([...tensor.read()]);
    const view = adapter.tensors.get(`${prefix}.lora_A.weight`) as Tensor;
    adapter.close();
    expect(errorOf(() => view.read()).code).toBe('ERR_DISPOSED');
  });

  it('is found by the name of one of its files too', () => {
    const path = adapterWith('by-file', { peft_type: 'LORA' });
    const adapter = readAdapter(join(path, 'adapter_config.json'));
    expect(adapter.config).toMatchObject({ r: 8, lora_alpha: 8, bias: 'none', rank_pattern: {} });
    adapter.close();
  });

  it('converts on writing', () => {
    const path = join(folder, 'bf16');
    writeAdapter(path, config, tensors, { dtype: 'bf16' });
    const adapter = readAdapter(path);
    expect(adapter.tensors.get(`${prefix}.lora_B.weight`)?.dtype).toBe('bf16');
    adapter.close();
  });

  it('that exists is not overwritten unasked; asked, other files stay', () => {
    const path = join(folder, 'exists');
    writeAdapter(path, config, tensors);
    writeFileSync(join(path, 'notes.txt'), 'mine');
    writeFileSync(join(path, 'adapter_model.bin'), 'old');
    expectRefused(() => writeAdapter(path, { ...config, r: 9 }, tensors), 'ERR_FILE', path, /exists and is not empty/);
    expect(readAdapter(path).config.r).toBe(2);
    writeAdapter(path, { ...config, r: 9 }, tensors, { overwrite: true });
    expect(readAdapter(path).config.r).toBe(9);
    expect(readFileSync(join(path, 'notes.txt'), 'utf8')).toBe('mine');
    expect(existsSync(join(path, 'adapter_model.bin'))).toBe(false);
  });

  const refused: [string, unknown, string, RegExp][] = [
    ['of an unknown type', { peft_type: 'VERA' }, 'ERR_MODEL_UNSUPPORTED', /peft_type is "VERA".*LORA/],
    ['without a type', {}, 'ERR_MODEL_CORRUPT', /peft_type must say/],
    ['that is no JSON', 'peft', 'ERR_MODEL_CORRUPT', /not valid JSON/],
    [
      'with unknown keys that are set',
      { peft_type: 'LORA', future: null, twist: 3, megatron_core: 'megatron.core', bend: { a: 1 } },
      'ERR_MODEL_UNSUPPORTED',
      /it sets "twist": 3, "bend": .*which this version does not know/,
    ],
    ['with biases in B', { peft_type: 'LORA', lora_bias: true }, 'ERR_MODEL_UNSUPPORTED', /uses lora_bias.*Merge/],
    [
      'with several wrong keys',
      { peft_type: 'LORA', r: 0, lora_alpha: 'x', bias: 'some', rank_pattern: { q: 1.5 } },
      'ERR_MODEL_CORRUPT',
      /4 wrong keys: r: .*lora_alpha: .*bias: .*rank_pattern\.q: /,
    ],
  ];
  it.each(refused)('%s is refused', (name, adapterConfig, code, says) => {
    const path = adapterWith(name.replaceAll(' ', '-'), adapterConfig);
    expectRefused(() => readAdapter(path), code, join(path, 'adapter_config.json'), says);
  });

  it('with NaN or infinite values is refused by the names of the tensors', () => {
    const path = join(folder, 'nan');
    const bad = Tensor.from('f32', [2], [1, Number.NaN]);
    const worse = Tensor.from('f32', [1], [Number.NEGATIVE_INFINITY]);
    writeAdapter(path, config, [...tensors, ['bad', bad], ['worse', worse]]);
    expectRefused(
      () => readAdapter(path),
      'ERR_MODEL_CORRUPT',
      path,
      /2 of 4 tensors hold NaN or infinite values: worse, bad|: bad, worse/,
    );
  });

  it('with pickled weights is refused with the safe way; without weights or configuration too', () => {
    const path = join(folder, 'pickled');
    mkdirSync(path);
    expectRefused(() => readAdapter(path), 'ERR_FILE', path, /no adapter_config.json/);
    fileIn(path, 'adapter_config.json', '{"peft_type":"LORA"}');
    expectRefused(() => readAdapter(path), 'ERR_FILE', path, /no adapter_model.safetensors/);
    fileIn(path, 'adapter_model.bin', 'x');
    expectRefused(() => readAdapter(path), 'ERR_MODEL_UNSUPPORTED', 'adapter_model.bin', /pickled.*save_pretrained/);
    expectRefused(() => readAdapter(join(folder, 'none')), 'ERR_FILE', 'none', /no such file/);
  });
});

describe('shape mismatches', () => {
  const shaped = (shapes: Record<string, number[]>) => new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));
  const expected = new Map(Object.entries({ a: [2, 4], b: [4, 2], c: [1] }));

  it('are listed all at once', () => {
    expect(shapeMismatches(expected, shaped({ a: [2, 4], b: [2, 4], d: [3] }))).toEqual([
      'c [1] is missing',
      'b must be [4,2], got [2,4]',
      'd [3] has no place in the model',
    ]);
    expect(errorOf(() => assertShapes('here', expected, shaped({}))).details.mismatches).toHaveLength(3);
  });

  it('of none there is no error', () => {
    expect(() => assertShapes('here', expected, shaped({ a: [2, 4], b: [4, 2], c: [1] }))).not.toThrow();
  });

  it('of very many the message shows some', () => {
    const many = shaped(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`t${i}`, [1]])));
    expect(errorOf(() => assertShapes('here', new Map(), many)).message).toMatch(/and 80 more/);
  });
});

describe.skipIf(!python || !hasShared)('peft itself', () => {
  const judge = (...args: string[]): string => execFileSync(python as string, ['-c', script, ...args], { encoding: 'utf8' }).trim();
  const script = [
    'import sys, torch',
    'from transformers import AutoModelForCausalLM',
    'from peft import LoraConfig, PeftModel, get_peft_model',
    'command, base, first, second = sys.argv[1:]',
    'model = AutoModelForCausalLM.from_pretrained(base)',
    'ids = torch.tensor([[1, 403, 407, 261, 378]])',
    'if command == "make":',
    '    torch.manual_seed(0)',
    '    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], rank_pattern={"down_proj": 2}, use_rslora=True, init_lora_weights=False, task_type="CAUSAL_LM")',
    '    get_peft_model(model, config).save_pretrained(first)',
    'else:',
    '    plain = model(ids).logits.detach()',
    '    a = PeftModel.from_pretrained(model, first)(ids).logits.detach()',
    '    b = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), second)(ids).logits.detach()',
    '    print(float((a - b).abs().max()), bool((a - plain).abs().max() > 0.01))',
  ].join('\n');

  it('loads what we write from what it wrote, with the same logits', () => {
    const base = join(folder, 'base');
    cpSync(sharedPath('models', 'stories260K'), base, { recursive: true });
    const theirs = join(folder, 'theirs');
    const ours = join(folder, 'ours');
    judge('make', base, theirs, '');
    const adapter = readAdapter(theirs);
    expect(adapter.config).toMatchObject({ r: 4, lora_alpha: 8, use_rslora: true, rank_pattern: { down_proj: 2 } });
    expect(adapter.tensors.size).toBe(5 * 2 * 2);
    const { r, lora_alpha, use_rslora, rank_pattern, target_modules } = adapter.config;
    writeAdapter(ours, { r, lora_alpha, use_rslora, rank_pattern, target_modules }, adapter.tensors);
    adapter.close();
    expect(judge('compare', base, theirs, ours).split('\n').at(-1)).toBe('0.0 True');
  }, 300_000);
});
