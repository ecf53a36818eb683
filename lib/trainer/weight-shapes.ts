import type { DType } from '../core/dtype.js';
import type { WeightSource } from '../formats/weights.js';
import { FinetuneError } from '../native/errors.js';

/** Storage type of a tensor whose shape is as the configuration says. @throws ERR_MODEL_CORRUPT when config and file contradict */
export function checkedShape(weights: WeightSource, name: string, shape: readonly number[]): DType {
  const info = weights.info(name);
  const elements = (s: readonly number[]) => s.reduce((a, b) => a * b, 1);
  const same = info.shape.length === shape.length ? info.shape.every((n, i) => n === shape[i]) : elements(info.shape) === elements(shape);
  if (!same)
    throw new FinetuneError(
      'ERR_MODEL_CORRUPT',
      `${info.file}: ${name} has shape [${info.shape}], but config.json asks for [${shape}]; check that they belong together`,
      { tensor: name, got: info.shape, wanted: shape },
    );
  return info.dtype;
}
