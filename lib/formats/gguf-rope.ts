import { Tensor } from '../core/tensor.js';
import { corruptFile, unsupportedFile } from './file-error.js';
import type { GgufFile } from './gguf.js';
import { ggmlTypes } from './gguf-types.js';
import type { JsonObject } from './json-file.js';

/**
 * config.json's rope_scaling from a GGUF file: linear and yarn from metadata; Llama 3 and longrope scaling are stored as a tensor
 * of per-frequency divisors. null = plain rope.
 * @throws ERR_MODEL_UNSUPPORTED, ERR_MODEL_CORRUPT
 */
export function ropeScaling(file: GgufFile, prefix: string): JsonObject | null {
  const { metadata } = file;
  const original = metadata.integer(`${prefix}.rope.scaling.original_context_length`) ?? metadata.integer(`${prefix}.context_length`);
  const longFactor = divisors(file, 'rope_factors_long.weight');
  const shortFactor = divisors(file, 'rope_factors_short.weight');
  if (longFactor && shortFactor) {
    const attentionFactor = metadata.number(`${prefix}.rope.scaling.attn_factor`);
    return {
      rope_type: 'longrope',
      long_factor: longFactor,
      short_factor: shortFactor,
      original_max_position_embeddings: original,
      ...(attentionFactor !== undefined && { attention_factor: attentionFactor }),
    };
  }
  const freqs = divisors(file, 'rope_freqs.weight');
  if (freqs?.some((f) => f !== 1)) return llama3Scaling(freqs, metadata.number(`${prefix}.rope.freq_base`) ?? 10000);
  const type = metadata.string(`${prefix}.rope.scaling.type`) ?? 'none';
  const factor = metadata.number(`${prefix}.rope.scaling.factor`) ?? metadata.number(`${prefix}.rope.scale_linear`) ?? 1;
  if (type === 'none' || factor === 1) return null;
  if (type === 'linear') return { rope_type: 'linear', factor };
  if (type === 'yarn') return { rope_type: 'yarn', factor, original_max_position_embeddings: original };
  throw unsupportedFile(file.path, `its rope scaling is ${type}`, 'Supported are none, linear, yarn, longrope and llama3.');
}

function divisors(file: GgufFile, name: string): number[] | undefined {
  const t = file.tensors.get(name);
  if (!t) return undefined;
  const dtype = ggmlTypes.get(t.type)?.dtype;
  if (dtype !== 'f32' || t.bytes > 2 ** 16) throw corruptFile(file.path, `tensor ${name} must hold a few F32 values`);
  const values = [...new Tensor(file.map, t.byteOffset, dtype, t.shape, name).read()];
  if (!values.every((v) => Number.isFinite(v) && v > 0)) throw corruptFile(file.path, `tensor ${name} must hold positive numbers`);
  return values;
}

// Llama 3.1 to 3.3 differ in `factor` only (8 or 32): where these parameters give the stored divisors, that is what they were.
// Anything else is kept as it is: longrope with one list for every length divides the frequencies just so.
function llama3Scaling(stored: number[], theta: number): JsonObject {
  const parameters = { factor: Math.max(...stored), low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const wanted = llama3Divisors(stored.length, theta, parameters);
  if (wanted.every((w, i) => Math.abs(w / (stored[i] as number) - 1) < 1e-4)) return { rope_type: 'llama3', ...parameters };
  return { rope_type: 'longrope', long_factor: stored, short_factor: stored, attention_factor: 1 };
}

interface Llama3Parameters {
  factor: number;
  low_freq_factor: number;
  high_freq_factor: number;
  original_max_position_embeddings: number;
}

/** Llama 3.1's frequency divisors: 1 for short wavelengths, `factor` for long ones, a smooth blend of the frequencies between. */
export function llama3Divisors(count: number, theta: number, p: Llama3Parameters): number[] {
  return Array.from({ length: count }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** (i / count);
    if (wavelength < p.original_max_position_embeddings / p.high_freq_factor) return 1;
    if (wavelength > p.original_max_position_embeddings / p.low_freq_factor) return p.factor;
    const rotations = p.original_max_position_embeddings / wavelength;
    const blend = (rotations - p.low_freq_factor) / (p.high_freq_factor - p.low_freq_factor);
    return 1 / ((1 - blend) / p.factor + blend);
  });
}
