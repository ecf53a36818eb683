import type { PlanConfigInput } from '../../lib/config/schema.js';
import { memoryStatistics } from '../../lib/core/memory.js';
import type { Parameter } from '../../lib/core/parameter.js';
import type { HostBatch } from '../../lib/models/batch.js';
import type { Session } from '../../lib/trainer/session.js';
import { pack } from '../parity/fixture.js';

export type Settings = Omit<PlanConfigInput, 'model' | 'data' | 'out'>;

/** Every way of training, for contracts that hold for all of them. */
export const trainings: Record<string, Settings> = {
  'lora adamw': { method: { type: 'lora', rank: 4 } },
  'lora adamw with dropout': { method: { type: 'lora', rank: 4, dropout: 0.3 } },
  'rslora sgd on o_proj and down_proj': {
    method: { type: 'lora', rank: 3, useRslora: true, targets: ['o_proj', 'down_proj'] },
    optimizer: { type: 'sgd' },
  },
  'lora on the last layer': { method: { type: 'lora', rank: 4, trainLastLayers: 1 } },
  'lora fused adamw': { method: { type: 'lora', rank: 4 }, optimizer: { type: 'adamw', fused: true } },
  dora: { method: { type: 'dora', rank: 4 } },
  'fused dora of another scale': {
    method: { type: 'dora', rank: 3, alpha: 5, useRslora: true },
    optimizer: { type: 'adamw', fused: true },
  },
  'lora+ from normal numbers': { method: { type: 'lora', rank: 4, init: 'gaussian', loraPlusRatio: 16 } },
  'fused lora-fa with dropout': {
    method: { type: 'lora', rank: 4, freezeA: true, dropout: 0.2 },
    optimizer: { type: 'adamw', fused: true },
  },
  'dora-fa+': { method: { type: 'dora', rank: 4, freezeA: true, loraPlusRatio: 4 } },
  ia3: { method: { type: 'ia3' } },
  'ia3 on inputs': { method: { type: 'ia3', targets: ['o_proj', 'down_proj', '*_proj'], feedForwardTargets: ['*_proj'] } },
  norms: { method: { type: 'norms' } },
  'full adamw on chosen modules': { method: { type: 'full', targets: ['down_proj', 'norm', 'layers.0.*'] } },
  'full adamw': { method: { type: 'full' } },
  'full adamw with bf16 moments': { method: { type: 'full' }, optimizer: { type: 'adamw', stateDtype: 'bf16' } },
  'full adamw on the last layer': { method: { type: 'full', trainLastLayers: 1 } },
  'full fused adamw': { method: { type: 'full' }, optimizer: { type: 'adamw', fused: true } },
  'full sgd': { method: { type: 'full' }, optimizer: { type: 'sgd' } },
  'full sgd with momentum': { method: { type: 'full' }, optimizer: { type: 'sgd', momentum: 0.9, nesterov: true } },
  'full fused lion with a bf16 moment': { method: { type: 'full' }, optimizer: { type: 'lion', fused: true, stateDtype: 'bf16' } },
  'full signsgd': { method: { type: 'full' }, optimizer: { type: 'signsgd' } },
  'lora signum': { method: { type: 'lora', rank: 4 }, optimizer: { type: 'signsgd', momentum: 0.9 } },
  'full fused adamw with 8-bit moments': { method: { type: 'full' }, optimizer: { type: 'adamw', fused: true, stateDtype: '8bit' } },
  'full adamw with 4-bit moments': { method: { type: 'full' }, optimizer: { type: 'adamw', stateDtype: '4bit' } },
  'full badam': { method: { type: 'full' }, optimizer: { type: 'badam', switchEvery: 3 } },
  'full fused badam with embedding and head': {
    method: { type: 'full' },
    optimizer: { type: 'badam', switchEvery: 2, blockOrder: 'ascending', includeEmbedding: true, includeHead: true, fused: true },
  },
  'full lisa': { method: { type: 'full' }, optimizer: { type: 'lisa', switchEvery: 2, sampledLayers: 1 } },
  'full fused lisa clipped exactly': {
    method: { type: 'full' },
    optimizer: { type: 'lisa', switchEvery: 1, sampledLayers: 1, fused: true, exactClip: true },
    maxGradNorm: 0.5,
  },
  'full mezo': { method: { type: 'full' }, optimizer: { type: 'mezo' } },
  'lora mezo': { method: { type: 'lora', rank: 4 }, optimizer: { type: 'mezo', perturbation: 1e-2 } },
  'full adafactor': { method: { type: 'full' }, optimizer: { type: 'adafactor' } },
  'full adalomo': { method: { type: 'full' }, optimizer: { type: 'adalomo' } },
  'full muon': { method: { type: 'full' }, optimizer: { type: 'muon' } },
  'full fused muon with a bf16 momentum': { method: { type: 'full' }, optimizer: { type: 'muon', fused: true, stateDtype: 'bf16' } },
  'full galore': { method: { type: 'full' }, optimizer: { type: 'galore', projectionRank: 3, projectionGap: 2 } },
  'full fused q-galore with 8-bit moments': {
    method: { type: 'full' },
    optimizer: { type: 'galore', fused: true, projectionGap: 1, projectionDtype: 'int4', adaptiveGap: true, stateDtype: '8bit' },
  },
  'full apollo': { method: { type: 'full' }, optimizer: { type: 'apollo', projectionRank: 3, projectionGap: 2 } },
  'full fused apollo-mini': { method: { type: 'full' }, optimizer: { type: 'apollo-mini', fused: true, projectionGap: 3 } },
  'full lomo clipped by the norm before': {
    method: { type: 'full' },
    optimizer: { type: 'lomo', previousNormClip: true },
    maxGradNorm: 0.5,
  },
  'full lomo clipped exactly': { method: { type: 'full' }, optimizer: { type: 'lomo', exactClip: true }, maxGradNorm: 0.5 },
  'full lomo': { method: { type: 'full' }, optimizer: { type: 'lomo' } },
  'full lomo with clipped values': { method: { type: 'full' }, optimizer: { type: 'lomo', clipValue: 0.01 } },
};

/** Three sequences of different lengths with masked labels, from a vocabulary of at least 96. */
export function sampleSequences(seed = 1): { ids: number[][]; labels: number[][] } {
  let state = seed;
  const next = (n: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const ids = [9, 14, 5].map((length) => Array.from({ length }, () => next(96)));
  const labels = ids.map((row) => row.map((id, i) => (i % 4 === 3 ? -100 : id)));
  return { ids, labels };
}

export function sampleBatch(seed = 1): HostBatch {
  const { ids, labels } = sampleSequences(seed);
  return pack(ids, labels);
}

/** The bytes of every trained weight. */
export function trainedBytes(session: Session): Map<string, Uint8Array> {
  return new Map(session.trained.map((p: Parameter) => [p.name, p.value.readBytes()]));
}

/** Native memory without file maps. */
export function privateBytes(): number {
  return memoryStatistics().heapCurrent;
}
