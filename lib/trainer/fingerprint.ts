import { createHash } from 'node:crypto';
import type { TrainConfig } from '../config/defaults.js';
import { quantizeType } from '../formats/quantized-weights.js';
import type { Session } from './session.js';

/** Settings that a resumed run must share with the run that was stopped: everything the numbers depend on. */
const settings = [
  'optimizer',
  'learningRate',
  'schedule',
  'batchSize',
  'gradientAccumulationSteps',
  'maxLength',
  'packing',
  'shuffle',
  'maxGradNorm',
  'dtype',
  'seed',
  'stochasticRounding',
  'validationSplit',
  'mlpTileRows',
] as const satisfies readonly (keyof TrainConfig)[];

/** What identifies a run, for its checkpoints. */
export function fingerprint(config: TrainConfig, session: Session, dataHash: string): Record<string, unknown> {
  const { initAdapter: _initAdapter, ...method } = { initAdapter: undefined, ...config.method };
  const parameters = session.trained.map((p) => `${p.name} ${p.value.dtype} [${p.shape}]`);
  return {
    data: dataHash,
    method,
    quantize: quantizeType(config) ?? null,
    ...Object.fromEntries(settings.map((key) => [key, config[key] ?? null])),
    parameters: parameters.length,
    trained: hash(parameters.join('\n')),
  };
}

/** "key: then, now" for every difference. */
export function differences(stored: Record<string, unknown>, current: Record<string, unknown>): string[] {
  return Object.keys(current).flatMap((key) => {
    const [then, now] = [JSON.stringify(stored[key]), JSON.stringify(current[key])];
    return then === now ? [] : [`${key} was ${then}, now ${now}`];
  });
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
