import type { DType } from '../../lib/core/dtype.js';
import { naiveUpdate, updateVariants } from './naive-update.js';
import { type Matrix, type OpCase, type OpSuite, tensor } from './suite.js';

function cases(shape: readonly number[], weight: DType, state: DType): OpCase[] {
  return updateVariants(shape, weight, state).map(([name, rule]) => ({
    name: `${name} [${shape}] ${weight} state ${state}`,
    args: {
      weight: tensor(weight, shape, { keepType: 'stochasticRounding' in rule }),
      grad: tensor('f32', shape),
      ...rule,
    },
  }));
}

export const suites: OpSuite[] = [
  {
    op: 'optimizer_update',
    cases: [
      ...cases([0, 5], 'f32', 'f32'),
      ...cases([1], 'f32', 'f32'),
      ...cases([333], 'f32', 'f32'),
      ...cases([37, 129], 'f32', 'f32'),
      ...cases([37, 129], 'bf16', 'f32'),
      ...cases([9, 131], 'bf16', 'bf16'),
      ...cases([9, 131], 'f16', 'f32'),
      ...cases([0, 5], 'f32', 'u8'),
      ...cases([77], 'f32', 'u8'),
      ...cases([37, 129], 'f32', 'u8'),
      ...cases([131, 257], 'bf16', 'u8'),
    ],
    bench: [...cases([1536, 576], 'f32', 'f32'), ...cases([1536, 576], 'bf16', 'f32'), ...cases([1536, 576], 'bf16', 'u8')],
    naive(inputs, numbers, f, types) {
      return naiveUpdate(inputs, inputs.grad as Matrix, numbers, types, f);
    },
  },
];
