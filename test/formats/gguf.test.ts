import { copyFileSync, mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { release } from '../../lib/core/memory.js';
import { Tensor } from '../../lib/core/tensor.js';
import { openGguf } from '../../lib/formats/gguf.js';
import { llama3Divisors } from '../../lib/formats/gguf-rope.js';
import { ggmlTypes } from '../../lib/formats/gguf-types.js';
import { HostContext } from '../../lib/formats/host-ops.js';
import { openModel } from '../../lib/formats/model-source.js';
import { SafetensorsSource } from '../../lib/formats/safetensors.js';
import { FinetuneError } from '../../lib/native/errors.js';
import { cast } from '../../lib/native/ops.js';
import { hasShared, sharedPath } from '../shared.js';
import { f32Bytes, ggufBytes, type Kv, type TensorSpec } from './gguf-bytes.js';
import { errorOf, expectRefused, fileIn, temporaryFolder } from './temporary.js';

const folder = temporaryFolder();
const f32 = 0;

/** Metadata of a model with 1 layer, hidden size 8, 2 heads of 4, MLP 8, 3 tokens. */
function keys(architecture: string, more: Kv[] = []): Kv[] {
  return [
    ['general.architecture', 'string', architecture],
    [`${architecture}.block_count`, 'u32', 1],
    [`${architecture}.context_length`, 'u32', 16],
    [`${architecture}.embedding_length`, 'u32', 8],
    [`${architecture}.feed_forward_length`, 'u32', 8],
    [`${architecture}.attention.head_count`, 'u32', 2],
    [`${architecture}.attention.layer_norm_rms_epsilon`, 'f32', 1e-6],
    ...more,
  ];
}

const counting = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const matrix = (name: string, rows = 8, cols = 8): TensorSpec => ({
  name,
  dims: [cols, rows],
  type: f32,
  data: f32Bytes(counting(rows * cols)),
});
const vector = (name: string, values: number[]): TensorSpec => ({ name, dims: [values.length], type: f32, data: f32Bytes(values) });
const write = (name: string, kvs: Kv[], tensors: TensorSpec[]): string => fileIn(folder, `${name}.gguf`, ggufBytes(kvs, tensors));

describe('architectures', () => {
  it('llama: q and k rows come back in Hugging Face order in a private copy, the rest stays mapped', () => {
    const path = write('llama', keys('llama'), [
      matrix('token_embd.weight', 3),
      matrix('blk.0.attn_q.weight'),
      matrix('blk.0.attn_v.weight'),
      vector('blk.0.attn_k.bias', counting(8)),
    ]);
    const { weights, config, kind } = openModel(path);
    expect(kind).toBe('gguf');
    expect(config).toMatchObject({
      model_type: 'llama',
      vocab_size: 3,
      head_dim: 4,
      num_key_value_heads: 2,
      rms_norm_eps: 1e-6,
      tie_word_embeddings: true,
      rope_scaling: null,
    });
    const rows = (name: string, width: number): number[] =>
      [...(weights?.tensor(name).read() ?? [])].filter((_, i) => i % width === 0).map((v) => v / width);
    expect(rows('model.layers.0.self_attn.v_proj.weight', 8)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(weights?.privateBytes()).toBe(0);
    expect(rows('model.layers.0.self_attn.q_proj.weight', 8)).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect(rows('model.layers.0.self_attn.k_proj.bias', 1)).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect(weights?.privateBytes()).toBe(8 * 8 * 4 + 8 * 4);
    weights?.close();
  });

  it.each(['gemma', 'gemma2', 'gemma3'])('%s: norms lose the 1 that was added', (architecture) => {
    const path = write(architecture, keys(architecture, [[`${architecture}.attention.key_length`, 'u32', 4]]), [
      matrix('token_embd.weight', 3),
      vector('blk.0.attn_norm.weight', [1, 1.5, 0.75, 0, 1, 1, 1, 1]),
    ]);
    const { weights, config } = openModel(path);
    expect([...(weights?.tensor('model.layers.0.input_layernorm.weight').read() ?? [])]).toEqual([0, 0.5, -0.25, -1, 0, 0, 0, 0]);
    expect(config.hidden_activation).toBe('gelu_pytorch_tanh');
    if (architecture === 'gemma2')
      expect(config).toMatchObject({
        layer_types: ['sliding_attention'],
        query_pre_attn_scalar: 4,
        attn_logit_softcapping: 50,
        final_logit_softcapping: 30,
      });
    weights?.close();
  });

  const names: [string, string[], string[]][] = [
    ['qwen2', ['blk.0.attn_q.bias', 'output.weight'], ['model.layers.0.self_attn.q_proj.bias', 'lm_head.weight']],
    ['qwen3', ['blk.0.attn_q_norm.weight', 'output_norm.weight'], ['model.layers.0.self_attn.q_norm.weight', 'model.norm.weight']],
    [
      'phi3',
      ['blk.0.attn_qkv.weight', 'blk.0.ffn_up.weight', 'blk.0.ffn_norm.weight'],
      [
        'model.layers.0.self_attn.qkv_proj.weight',
        'model.layers.0.mlp.gate_up_proj.weight',
        'model.layers.0.post_attention_layernorm.weight',
      ],
    ],
    [
      'gemma2',
      ['blk.0.post_attention_norm.weight', 'blk.0.ffn_norm.weight', 'blk.0.post_ffw_norm.weight'],
      [
        'model.layers.0.post_attention_layernorm.weight',
        'model.layers.0.pre_feedforward_layernorm.weight',
        'model.layers.0.post_feedforward_layernorm.weight',
      ],
    ],
  ];
  it.each(names)('%s: names', (architecture, stored, expected) => {
    const { weights } = openModel(
      write(
        `names-${architecture}`,
        keys(architecture),
        stored.map((name) => vector(name, counting(8))),
      ),
    );
    expect(weights?.names()).toEqual(expected);
    weights?.close();
  });

  it('llama 3: the stored divisors are recognised as llama3 scaling, others kept as they are', () => {
    const parameters = { factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
    const divisors = llama3Divisors(64, 500000, parameters);
    expect([divisors[0], divisors[63]]).toEqual([1, 32]);
    const base = keys('llama', [['llama.rope.freq_base', 'f32', 500000]]);
    const llama3 = openModel(write('llama3', base, [vector('rope_freqs.weight', divisors), matrix('token_embd.weight', 3)]));
    expect(llama3.config.rope_scaling).toEqual({ rope_type: 'llama3', ...parameters });
    expect(llama3.weights?.names()).toEqual(['model.embed_tokens.weight']);
    llama3.weights?.close();
    const other = openModel(write('other-freqs', base, [vector('rope_freqs.weight', [1, 2.5])]), { weights: false });
    expect(other.config.rope_scaling).toEqual({
      rope_type: 'longrope',
      long_factor: [1, 2.5],
      short_factor: [1, 2.5],
      attention_factor: 1,
    });
    expect(other.weights).toBeUndefined();
  });

  it('linear scaling comes from metadata', () => {
    const scaled = keys('gemma3', [
      ['gemma3.rope.scaling.type', 'string', 'linear'],
      ['gemma3.rope.scaling.factor', 'f32', 8],
    ]);
    expect(openModel(write('linear', scaled, []), { weights: false }).config.rope_scaling).toEqual({ rope_type: 'linear', factor: 8 });
  });

  const unsupported: [string, Kv[], TensorSpec[], RegExp][] = [
    ['another architecture', keys('mamba'), [], /architecture is mamba.*llama, qwen2/],
    ['an adapter', keys('llama', [['general.type', 'string', 'adapter']]), [], /GGUF adapter, not a model/],
    ['a split model', keys('llama', [['split.count', 'u16', 3]]), [], /split GGUF.*--merge/],
    [
      'a type with a codebook',
      keys('llama'),
      [{ name: 'token_embd.weight', dims: [32, 1], type: 20, data: new Uint8Array(18) }],
      /IQ4_NL \(1 tensors\).*Q8_0/,
    ],
    ['experts', keys('llama'), [matrix('blk.0.ffn_gate_exps.weight')], /has no tensor "blk.0.ffn_gate_exps.weight"/],
    ['more layers than it says', keys('llama'), [matrix('blk.1.attn_v.weight')], /with 1 layers has no tensor "blk.1/],
    ['an unknown storage type', keys('llama'), [{ name: 'token_embd.weight', dims: [8], type: 99 }], /unknown storage type 99/],
  ];
  it.each(unsupported)('%s is refused by name', (name, kvs, tensors, says) => {
    const path = write(name.replaceAll(' ', '-'), kvs, tensors);
    expectRefused(() => openModel(path), 'ERR_MODEL_UNSUPPORTED', path, says);
  });
});

describe('hostile files', () => {
  const good = ggufBytes(keys('llama'), [matrix('token_embd.weight', 3)]);
  const at = (offset: number, value: bigint): Buffer => {
    const bytes = Buffer.from(good);
    bytes.writeBigUInt64LE(value, offset);
    return bytes;
  };
  const tensor = (spec: Partial<TensorSpec>): Buffer =>
    ggufBytes(keys('llama'), [{ name: 'token_embd.weight', dims: [8, 3], type: f32, data: f32Bytes(counting(24)), ...spec }]);
  const longKey = at(24, 2n ** 63n);
  const corrupt: [string, Uint8Array, RegExp][] = [
    ['another magic', Buffer.concat([Buffer.from('GGML'), good.subarray(4)]), /does not begin with "GGUF"/],
    ['2^63 tensors', at(8, 2n ** 63n), /9223372036854775808 tensors/],
    ['a million tensors in a small file', at(8, 1_000_000n), /truncated|at least/],
    ['2^63 keys', at(16, 2n ** 63n), /metadata keys/],
    ['a key of 2^63 bytes', longKey, /says it has 9223372036854775808 bytes/],
    ['a key longer than the file', at(24, 60_000n), /needs at least 60000 bytes/],
    ['a key twice', ggufBytes([...keys('llama'), ['llama.block_count', 'u32', 2]], []), /"llama.block_count" occurs twice/],
    ['a tensor twice', ggufBytes(keys('llama'), [vector('output_norm.weight', [1]), vector('output_norm.weight', [1])]), /occurs twice/],
    [
      'NaN as epsilon',
      ggufBytes(
        keys('llama').map((k) => (k[0].endsWith('epsilon') ? [k[0], 'f32', Number.NaN] : k)),
        [],
      ),
      /layer_norm_rms_epsilon must be a finite number, got NaN/,
    ],
    [
      'an infinite rope base',
      ggufBytes(keys('llama', [['llama.rope.freq_base', 'f32', Number.POSITIVE_INFINITY]]), []),
      /freq_base must be a finite number/,
    ],
    [
      'a negative count of layers',
      ggufBytes(
        keys('llama').map((k) => (k[0].endsWith('block_count') ? [k[0], 'i32', -1] : k)),
        [],
      ),
      /block_count must be an integer/,
    ],
    [
      '2^63 layers',
      ggufBytes(
        keys('llama').map((k) => (k[0].endsWith('block_count') ? [k[0], 'u64', 2n ** 63n] : k)),
        [],
      ),
      /block_count must be an integer/,
    ],
    [
      'no layers',
      ggufBytes(
        keys('llama').map((k) => (k[0].endsWith('block_count') ? [k[0], 'u32', 0] : k)),
        [],
      ),
      /at least 1/,
    ],
    [
      'text as a number',
      ggufBytes(
        keys('llama').map((k) => (k[0].endsWith('block_count') ? [k[0], 'string', '1'] : k)),
        [],
      ),
      /block_count must be an integer.*"1"/,
    ],
    [
      'a key missing',
      ggufBytes(
        keys('llama').filter((k) => !k[0].endsWith('embedding_length')),
        [],
      ),
      /embedding_length is missing/,
    ],
    [
      'heads that do not divide',
      ggufBytes(
        keys('llama').map((k) => (k[0].endsWith('head_count') ? [k[0], 'u32', 3] : k)),
        [],
      ),
      /3 heads do not divide/,
    ],
    ['an alignment of 0', ggufBytes(keys('llama', [['general.alignment', 'u32', 0]]), []), /power of two/],
    ['an alignment of 2^30', ggufBytes(keys('llama', [['general.alignment', 'u32', 2 ** 30]]), []), /power of two/],
    ['dimensions that overflow', tensor({ dims: [2n ** 62n, 2n ** 62n] }), /dimensions \[4611686018427387904/],
    ['a dimension of 0', tensor({ dims: [0, 3] }), /dimensions \[0, 3\]/],
    ['5 dimensions', tensor({ dims: [1, 1, 1, 1, 1] }), /5 dimensions/],
    ['a tensor past the end', tensor({ dims: [8, 300] }), /truncated/],
    ['an offset of 2^63', tensor({ offset: 2n ** 63n }), /begins at offset 9223372036854775808/],
    ['an unaligned offset', tensor({ offset: 4n }), /multiple of 32/],
    ['half a block', tensor({ dims: [8, 3], type: 8 }), /Q8_0 needs multiples of 32/],
    [
      'overlapping tensors',
      ggufBytes(keys('llama'), [
        vector('output_norm.weight', counting(16)),
        { ...vector('blk.0.attn_norm.weight', counting(16)), offset: 32n },
      ]),
      /overlap/,
    ],
    ['rows that are no heads', ggufBytes(keys('llama'), [matrix('blk.0.attn_q.weight', 6)]), /6 rows, which are not 2 heads/],
  ];
  it.each(corrupt)('%s', (name, bytes, says) => {
    const path = fileIn(folder, `${name.replaceAll(/\W/g, '-')}.gguf`, bytes);
    expectRefused(
      () => {
        const { weights } = openModel(path);
        try {
          for (const tensorName of weights?.names() ?? []) weights?.tensor(tensorName);
        } finally {
          weights?.close();
        }
      },
      'ERR_MODEL_CORRUPT',
      path,
      says,
    );
  });

  it('an empty file, a folder, a big-endian file, version 1', () => {
    const empty = fileIn(folder, 'empty.gguf', '');
    expectRefused(() => openModel(empty), 'ERR_MODEL_CORRUPT', empty, /is empty/);
    mkdirSync(join(folder, 'folder.gguf'));
    expectRefused(() => openModel(join(folder, 'folder.gguf')), 'ERR_FILE', 'folder.gguf', /is no model/);
    for (const [version, says] of [
      [0x03000000, /big-endian/],
      [1, /version 1/],
    ] as const) {
      const path = fileIn(folder, `v${version}.gguf`, ggufBytes([], [], { version }));
      expectRefused(() => openModel(path), 'ERR_MODEL_UNSUPPORTED', path, says);
    }
  });

  const opensOrRefuses = (bytes: Uint8Array): void => {
    const path = fileIn(folder, 'mutant.gguf', bytes);
    try {
      const { weights } = openModel(path);
      try {
        for (const name of weights?.names() ?? []) weights?.tensor(name);
      } finally {
        weights?.close();
      }
    } catch (error) {
      expect(error).toBeInstanceOf(FinetuneError);
      expect((error as FinetuneError).code).toMatch(/^ERR_(MODEL_CORRUPT|MODEL_UNSUPPORTED|FILE)$/);
    }
  };
  const rich = ggufBytes(
    keys('llama', [
      ['tokenizer.ggml.model', 'string', 'llama'],
      ['tokenizer.ggml.tokens', 'array', ['<unk>', 'a', 'aa'], 'string'],
      ['tokenizer.ggml.scores', 'array', [0, 0, -1], 'f32'],
      ['tokenizer.ggml.token_type', 'array', [2, 1, 1], 'i32'],
      ['tokenizer.ggml.add_bos_token', 'bool', false],
    ]),
    [matrix('token_embd.weight', 3), matrix('blk.0.attn_q.weight')],
  );

  it('cut anywhere', () => {
    const path = fileIn(folder, 'cut.gguf', rich);
    for (let length = rich.length - 1; length >= 0; length--) {
      truncateSync(path, length);
      expect(errorOf(() => openModel(path)).code, `${length} bytes`).toBe('ERR_MODEL_CORRUPT');
    }
  });

  it('with any bytes changed opens or is refused, and never crashes', () => {
    const change = fc.record({ at: fc.nat(rich.length - 1), byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 0x7f, 0x80, 0xff)) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Buffer.from(rich);
        for (const { at: offset, byte } of changes) bytes[offset] = byte;
        opensOrRefuses(bytes);
      }),
      { numRuns: 500 },
    );
  });
});

describe.skipIf(!hasShared)('real files', () => {
  const variant = (name: string): string => sharedPath('models', 'stories260K-variants', name);
  const smollm = sharedPath('models', 'smollm2-135m-instruct', 'SmolLM2-135M-Instruct.Q4_1.gguf');
  const files = hasShared
    ? [variant('stories260K-f32.gguf'), variant('stories260K-f16.gguf'), variant('stories260K-q8_0.gguf'), smollm]
    : [];

  it.each(files)('%s: header as @huggingface/gguf reads it', async (path) => {
    const oracle = await gguf(path, { allowLocalFile: true });
    const ours = openGguf(path);
    expect(ours.tensors.size).toBe(oracle.tensorInfos.length);
    for (const t of oracle.tensorInfos) {
      const mine = ours.tensors.get(t.name);
      expect(mine?.shape).toEqual(t.shape.map(Number).reverse());
      expect(mine?.type).toBe(t.dtype);
      expect(mine?.byteOffset).toBe(Number(oracle.tensorDataOffset) + Number(t.offset));
    }
    for (const [key, value] of ours.metadata.values) {
      const expected = (oracle.metadata as unknown as Record<string, unknown>)[key];
      if (typeof value === 'number') expect(Math.fround(value)).toBe(Math.fround(Number(expected)));
      else expect(value, key).toEqual(expected);
    }
    release(ours.map);
  });

  const asF32 = (t: Tensor): Float32Array => {
    const y = Tensor.allocate('f32', t.shape, 'other');
    cast(new HostContext(), { x: t, y });
    const values = y.read() as Float32Array;
    y.dispose();
    return values;
  };

  it.each([
    ['stories260K-f32.gguf', 0],
    ['stories260K-f16.gguf', 2 ** -11],
    ['stories260K-q8_0.gguf', 1 / 127],
  ])('%s: every tensor equals that of the safetensors file, within its precision', (name, precision) => {
    const reference = SafetensorsSource.openFile(sharedPath('models', 'stories260K', 'model.safetensors'));
    const { weights } = openModel(variant(name));
    expect(weights?.names().sort()).toEqual(reference.names().sort());
    for (const tensorName of reference.names()) {
      const ours = asF32(weights?.tensor(tensorName) as Tensor);
      const wanted = reference.tensor(tensorName).read() as Float32Array;
      const largest = wanted.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      const worst = wanted.reduce((most, v, i) => Math.max(most, Math.abs(v - (ours[i] as number))), 0);
      expect(worst, tensorName).toBeLessThanOrEqual(largest * precision);
    }
    weights?.close();
    reference.close();
  });

  it('the derived configuration says what config.json says', () => {
    for (const [path, folderName] of [
      [smollm, 'smollm2-135m-instruct'],
      [variant('stories260K-f32.gguf'), 'stories260K'],
    ] as const) {
      const derived = openModel(path, { weights: false }).config;
      const written = openModel(sharedPath('models', folderName), { weights: false }).config;
      const shared = Object.keys(written).filter((key) => key in derived && !['torch_dtype', 'pad_token_id'].includes(key));
      for (const key of shared) expect(derived[key], key).toEqual(written[key]);
      expect(shared.length).toBeGreaterThan(15);
    }
  });

  it('a folder: the files beside the GGUF win, and only q and k are copies', () => {
    const source = openModel(sharedPath('models', 'smollm2-135m-instruct'));
    expect(source.kind).toBe('gguf');
    expect(source.config.torch_dtype).toBe('bfloat16');
    expect(source.passthroughFiles.map((f) => f.split('/').at(-1))).toEqual(['tokenizer.json', 'tokenizer_config.json']);
    for (const name of source.weights?.names() ?? []) source.weights?.tensor(name);
    expect(source.weights?.privateBytes()).toBe(((30 * (576 + 192) * 576) / 32) * 20);
    source.weights?.close();
  });

  it('a folder with two GGUF files asks which', () => {
    const two = join(folder, 'two');
    mkdirSync(two);
    for (const name of ['a.gguf', 'b.gguf']) copyFileSync(variant('stories260K-q8_0.gguf'), join(two, name));
    expectRefused(() => openModel(two), 'ERR_FILE', two, /a.gguf, b.gguf/);
  });

  it('a config.json of another family beside it is refused', () => {
    const mixed = join(folder, 'mixed');
    mkdirSync(mixed);
    copyFileSync(variant('stories260K-q8_0.gguf'), join(mixed, 'm.gguf'));
    fileIn(mixed, 'config.json', '{"model_type":"qwen2"}');
    expectRefused(() => openModel(mixed), 'ERR_MODEL_CORRUPT', 'm.gguf', /llama model.*"qwen2"/);
  });
});

it('every supported type has the block layout of the engine', async () => {
  const { dtypes } = await import('../../lib/core/dtype.js');
  const supported = [...ggmlTypes.values()].filter((t) => t.dtype);
  expect(supported).toHaveLength(15);
  for (const { dtype, blockElements, blockBytes } of supported) expect(dtypes[dtype as 'f32']).toMatchObject({ blockElements, blockBytes });
});
