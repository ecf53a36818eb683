// Quantized weights against the packages that define the formats: scripts/fixtures/make_quantized.py.
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type DType, dtypes } from '../../lib/core/dtype.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import { isLinearWeight } from '../../lib/core/parameter.js';
import { Tensor } from '../../lib/core/tensor.js';
import { HostContext } from '../../lib/formats/host-ops.js';
import { openModel } from '../../lib/formats/model-source.js';
import { QuantizedWeights } from '../../lib/formats/quantized-weights.js';
import { SafetensorsSource } from '../../lib/formats/safetensors.js';
import { writeSafetensors } from '../../lib/formats/safetensors-writer.js';
import { loadModel } from '../../lib/index.js';
import { cast, quantize } from '../../lib/native/ops.js';
import { largestDifference } from '../parity/model-session.js';
import { expectRefused, temporaryFolder } from './temporary.js';

const fixtures = join(import.meta.dirname, '..', 'fixtures', 'quantized');
const folder = temporaryFolder();
const ggml = SafetensorsSource.openFile(join(fixtures, 'ggml.safetensors'));
const bnb = SafetensorsSource.openFile(join(fixtures, 'bitsandbytes.safetensors'));
afterAll(() => {
  ggml.close();
  bnb.close();
});

const bits = (values: ArrayLike<number>): Uint32Array => new Uint32Array(Float32Array.from(values).buffer);

function valuesOf(x: Tensor, device: 'ref' | 'cpu'): Float32Array {
  const y = Tensor.allocate('f32', x.shape, 'other');
  cast(new HostContext(device), { x, y });
  const values = y.read() as Float32Array;
  y.dispose();
  return values;
}

describe.each(['ref', 'cpu'] as const)('%s', (device) => {
  const types = ggml
    .names()
    .filter((name) => name.endsWith('.values'))
    .map((name) => name.replace('.values', ''));

  it.each(types)('reads %s bit for bit as the gguf package does', (type) => {
    const dtype = type.toLowerCase() as DType;
    const raw = ggml.tensor(`${type}.blocks`);
    const values = ggml.tensor(`${type}.values`);
    const blocks = new Tensor(raw.segment, raw.byteOffset, dtype, values.shape, type);
    expect(blocks.bytes).toBe(raw.bytes);
    expect(bits(valuesOf(blocks, device))).toEqual(bits(values.read()));
  });

  const quantized = (dtype: DType): Tensor => {
    const x = bnb.tensor('x');
    const y = Tensor.allocate(dtype, x.shape, 'other', dtype);
    quantize(new HostContext(device), { x, y });
    return y;
  };
  // Codes and scales of a block, wherever the format keeps them.
  const partsOf = (t: Tensor, header: number, scale: number): { scales: number[]; codes: number[] } => {
    const { blockBytes, blockElements } = dtypes[t.dtype];
    const rowBytes = t.bytes / t.rows;
    const all = t.readBytes();
    const parts = { scales: [] as number[], codes: [] as number[] };
    for (let row = 0; row < t.rows; row++)
      for (let b = 0; b < t.cols / blockElements; b++) {
        const at = row * rowBytes + header + b * blockBytes;
        parts.scales.push(...all.subarray(at, at + scale));
        parts.codes.push(...all.subarray(at + scale, at + blockBytes));
      }
    return parts;
  };

  it.each([
    ['nf4', 0, 4],
    ['nf4_dq', 16, 1],
  ] as const)('quantizes to %s bit for bit as bitsandbytes does', (dtype, header, scale) => {
    const y = quantized(dtype);
    const { scales, codes } = partsOf(y, header, scale);
    expect(codes).toEqual([...bnb.tensor(`${dtype}.codes`).read()]);
    expect(scales).toEqual([...bnb.tensor(`${dtype}.absmax`).readBytes()]);
    if (dtype === 'nf4_dq') {
      const row = y.readBytes(0, header);
      expect(Math.abs(new DataView(row.buffer).getFloat32(0, true) - (bnb.tensor('nf4_dq.offset').read()[0] as number))).toBeLessThan(1e-8);
    }
    const values = valuesOf(y, device);
    const wanted = bnb.tensor(`${dtype}.values`).read();
    // The offset is a mean: torch adds up in another order.
    if (dtype === 'nf4') expect(bits(values)).toEqual(bits(wanted));
    expect(largestDifference(values, wanted)).toBeLessThan(1e-7);
    y.dispose();
  });

  it('quantizes to int8 with the quants of bitsandbytes', () => {
    const y = quantized('int8');
    const { scales, codes } = partsOf(y, 0, 4);
    const absmax = bnb.tensor('int8.absmax').read();
    expect(codes).toEqual([...bnb.tensor('int8.quants').read()]);
    const stored = new Float32Array(Uint8Array.from(scales).buffer);
    expect(
      largestDifference(
        stored,
        Float32Array.from(absmax, (x) => x / 127),
      ),
    ).toBe(0);
    y.dispose();
  });
});

describe('bitsandbytes checkpoints', () => {
  it.each(['nf4', 'nf4-double'])('%s has the logits of transformers', async (name) => {
    const { ids, logits } = JSON.parse(readFileSync(join(fixtures, name, 'logits.json'), 'utf8'));
    await using model = await loadModel({ path: join(fixtures, name) });
    const got = model.logits(ids);
    got.forEach((row, i) => expect(largestDifference(row, logits[i])).toBeLessThan(2e-5));
  });

  it.each([
    ['nf4', 'nf4'],
    ['nf4-double', 'nf4_dq'],
  ])('%s is kept in its own bits', (name, dtype) => {
    const before = memoryStatistics().current;
    const { weights } = openModel(join(fixtures, name));
    const weight = 'model.layers.0.mlp.down_proj.weight';
    expect(weights!.info(weight)).toMatchObject({ dtype, shape: [64, 128], isCopied: true });
    expect(weights!.names().filter((n) => n.includes('quant') || n.includes('absmax'))).toEqual([]);
    expect(weights!.tensor(weight).bytes).toBe(weights!.privateBytes());
    weights!.close();
    expect(memoryStatistics().current).toEqual(before);
  });

  it('fp4 is refused by name', () => {
    expectRefused(() => openModel(join(fixtures, 'fp4')), 'ERR_MODEL_UNSUPPORTED', 'model.safetensors', /fp4.*Supported is nf4/s);
  });

  /** The fixture with one tensor or the state of one weight replaced. */
  function altered(name: string, change: (tensors: Map<string, Tensor>) => void, config?: (c: Record<string, unknown>) => void): string {
    const path = join(folder, `altered-${Math.random().toString(36).slice(2)}`);
    mkdirSync(path);
    const source = SafetensorsSource.openFile(join(fixtures, name, 'model.safetensors'));
    const tensors = new Map(source.names().map((n) => [n, source.tensor(n)]));
    change(tensors);
    writeSafetensors(
      join(path, 'model.safetensors'),
      [...tensors].map(([n, tensor]) => ({ name: n, tensor })),
    );
    source.close();
    const settings = JSON.parse(readFileSync(join(fixtures, name, 'config.json'), 'utf8'));
    config?.(settings);
    writeFileSync(join(path, 'config.json'), JSON.stringify(settings));
    return path;
  }
  const weight = 'model.layers.1.self_attn.q_proj.weight';
  const state = (value: object) => (tensors: Map<string, Tensor>) => {
    const bytes = Buffer.from(JSON.stringify(value));
    tensors.set(`${weight}.quant_state.bitsandbytes__nf4`, Tensor.from('u8', [bytes.length], bytes));
  };

  it.each<[string, object, string, RegExp]>([
    ['blocks of 128', { quant_type: 'nf4', blocksize: 128, shape: [64, 64] }, 'ERR_MODEL_UNSUPPORTED', /blocks of 128.*blocks of 64/s],
    ['no shape', { quant_type: 'nf4', blocksize: 64 }, 'ERR_MODEL_CORRUPT', /shape/],
    [
      'a shape of other size',
      { quant_type: 'nf4', blocksize: 64, shape: [64, 128] },
      'ERR_MODEL_CORRUPT',
      /4096 elements of u8 were expected/,
    ],
    ['rows that are no whole blocks', { quant_type: 'nf4', blocksize: 64, shape: [128, 32] }, 'ERR_MODEL_UNSUPPORTED', /rows of 32/],
  ])('%s are refused', (_name, value, code, says) => {
    expectRefused(() => openModel(altered('nf4', state(value))), code, 'model.safetensors', says);
  });
  it('another codebook is refused', () => {
    const path = altered('nf4', (t) => t.set(`${weight}.quant_map`, Tensor.from('f32', [16], new Float32Array(16).fill(1))));
    const { weights } = openModel(path);
    expectRefused(() => weights!.tensor(weight), 'ERR_MODEL_UNSUPPORTED', weight, /map must be the codebook of NF4/);
    weights!.close();
  });
  it('a part that is missing is named', () => {
    const path = altered('nf4', (t) => void t.delete(`${weight}.absmax`));
    expectRefused(() => openModel(path), 'ERR_MODEL_CORRUPT', `${weight}.absmax`, /no tensor/);
  });
  it.each([
    [{ quant_method: 'gptq', bits: 4 }, /"gptq"/],
    [{ quant_method: 'bitsandbytes', load_in_8bit: true }, /bitsandbytes in 8 bits/],
  ])('another scheme is refused by name: %j', (quantization, says) => {
    const path = altered(
      'nf4',
      () => {},
      (c) => (c.quantization_config = quantization),
    );
    expectRefused(() => openModel(path), 'ERR_MODEL_UNSUPPORTED', 'config.json', says);
  });
});

describe('quantized on load', () => {
  const linear = 'model.layers.0.mlp.up_proj.weight';
  /** A checkpoint of two matrices and a vector. */
  function checkpoint(cols: number, values?: Float32Array): SafetensorsSource {
    const path = join(folder, `weights-${Math.random().toString(36).slice(2)}.safetensors`);
    const x = values ?? Float32Array.from({ length: 4 * cols }, (_, i) => Math.sin(i));
    writeSafetensors(path, [
      { name: linear, tensor: Tensor.from('f32', [4, cols], x), dtype: 'bf16' },
      { name: 'model.embed_tokens.weight', tensor: Tensor.from('f32', [4, cols], x), dtype: 'bf16' },
      { name: 'model.layers.0.input_layernorm.weight', tensor: Tensor.from('f32', [cols], x.slice(0, cols)), dtype: 'bf16' },
    ]);
    return SafetensorsSource.openFile(path);
  }

  it.each(['nf4', 'nf4_dq', 'int8'] as const)('%s: linear layers of blocks, nothing else', (type) => {
    const source = checkpoint(128);
    const before = memoryStatistics().heapCurrent;
    const weights = new QuantizedWeights(source, type);
    expect(
      weights
        .names()
        .sort()
        .map((n) => [n, weights.tensor(n).dtype]),
    ).toEqual([
      ['model.embed_tokens.weight', 'bf16'],
      ['model.layers.0.input_layernorm.weight', 'bf16'],
      [linear, type],
    ]);
    expect(weights.privateBytes()).toBe(weights.tensor(linear).bytes);
    expect(weights.info(linear)).toMatchObject({ dtype: type, isCopied: true });
    weights.drop(linear);
    expect(weights.privateBytes()).toBe(0);
    weights.close();
    expect(memoryStatistics().heapCurrent).toBe(before);
  });

  it('names that are linear layers', () => {
    expect(isLinearWeight('model.layers.11.self_attn.qkv_proj.weight', [8, 8])).toBe(true);
    for (const name of ['lm_head.weight', 'model.embed_tokens.weight', 'model.layers.1.mlp.up_proj.bias'])
      expect(isLinearWeight(name, [8, 8])).toBe(false);
    expect(isLinearWeight('model.layers.1.input_layernorm.weight', [8])).toBe(false);
  });

  it('rows that are not whole blocks are refused', () => {
    const source = checkpoint(96);
    const weights = new QuantizedWeights(source, 'nf4');
    expectRefused(() => weights.tensor(linear), 'ERR_MODEL_UNSUPPORTED', linear, /rows of 96 elements.*blocks of 64.*without quantize/s);
    weights.close();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('weights with %s are refused', (bad) => {
    for (const type of ['nf4', 'nf4_dq', 'int8'] as const) {
      const values = new Float32Array(4 * 128);
      values[300] = bad;
      const weights = new QuantizedWeights(checkpoint(128, values), type);
      expectRefused(() => weights.tensor(linear), 'ERR_MODEL_CORRUPT', linear, /row 2 is not.*finite/s);
      weights.close();
    }
  });

  it('a block of zeros stays zeros', () => {
    for (const type of ['nf4', 'nf4_dq', 'int8'] as const) {
      const weights = new QuantizedWeights(checkpoint(128, new Float32Array(4 * 128)), type);
      expect(valuesOf(weights.tensor(linear), 'cpu').every((x) => x === 0)).toBe(true);
      weights.close();
    }
  });

  it('a model that is quantized already is refused', async () => {
    const path = join(folder, 'again');
    cpSync(join(fixtures, 'nf4'), path, { recursive: true });
    copyFileSync(join(fixtures, 'nf4', 'config.json'), join(path, 'config.json'));
    await expect(loadModel({ path, quantize: 'nf4' })).rejects.toThrow(/quantized already.*leave quantize out/s);
  });
});
