import { FinetuneError } from '../native/errors.js';
import type { RopeConfig } from './decoder-config.js';
import { RawConfig } from './raw-config.js';

// Frequencies are rounded to f32 after every operation, as the reference implementations do: at position 100,000 one unit in the
// last place of a frequency turns a pair of dimensions by up to 0.006.
const f32 = Math.fround;

type Scaling = (frequency: number, scaling: RawConfig) => number;

/** Llama 3.1's scaling: long wavelengths are divided by factor, short ones kept, those between interpolated (Llama 3 herd, arXiv 2407.21783). */
const llama3: Scaling = (frequency, scaling) => {
  const factor = scaling.number('factor');
  const low = scaling.number('low_freq_factor');
  const high = scaling.number('high_freq_factor');
  const original = scaling.number('original_max_position_embeddings');
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI));
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return f32(frequency / factor);
  const smooth = f32(f32(f32(f32(1 / wavelength) * original) - low) / (high - low));
  return f32(f32(f32(f32(1 - smooth) * frequency) / factor) + f32(smooth * frequency));
};

/** Frequency scalings by `rope_type`. */
const scalings: Record<string, Scaling> = {
  default: (frequency) => frequency,
  /** Position interpolation (Chen et al. 2023, arXiv 2306.15595). */
  linear: (frequency, scaling) => f32(frequency / scaling.number('factor')),
  llama3,
};

/** Inverse frequencies theta^(-2i / rotaryDim), scaled as `scaling` says (config.json's rope_scaling or rope_parameters). */
export function ropeFrequencies(theta: number, rotaryDim: number, scaling: RawConfig | undefined): RopeConfig {
  const rules = scaling ?? new RawConfig({});
  const type = rules.has('rope_type') ? rules.string('rope_type') : rules.string('type', 'default');
  const scale = scalings[type];
  if (!scale)
    throw new FinetuneError(
      'ERR_MODEL_UNSUPPORTED',
      `${rules.where}: rope_type "${type}" is not supported; supported are ${Object.keys(scalings).join(', ')}`,
      { ropeType: type },
    );
  const inverseFrequencies = Float32Array.from({ length: rotaryDim / 2 }, (_, i) => {
    const exponent = f32((2 * i) / rotaryDim);
    return scale(f32(1 / f32(theta ** exponent)), rules);
  });
  return { inverseFrequencies, attentionFactor: 1 };
}

/** The rope of a model with one kind: transformers 5's rope_parameters, or rope_theta + rope_scaling before. */
export function readRope(raw: RawConfig, headDim: number, defaultTheta = 10000): RopeConfig {
  const parameters = raw.object('rope_parameters');
  const theta = parameters?.has('rope_theta') ? parameters.number('rope_theta') : raw.number('rope_theta', defaultTheta);
  const source = parameters?.has('partial_rotary_factor') ? parameters : raw;
  const rotaryDim = Math.floor(headDim * source.number('partial_rotary_factor', 1));
  return ropeFrequencies(theta, rotaryDim, parameters ?? raw.object('rope_scaling'));
}
