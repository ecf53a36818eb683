import { counterUniform } from './random.js';
import { Matrix, type OpCase, type OpSuite, tensor } from './suite.js';

function sample(
  n: number,
  v: number,
  options: { temperature?: number; topK?: number; topP?: number; seed?: number; type?: 'f32' | 'bf16'; pad?: number },
): OpCase {
  const { type = 'f32', pad = 0, ...numbers } = options;
  return {
    name: `N${n} V${v} ${type} ${JSON.stringify(numbers)} pad ${pad}`,
    args: { logits: tensor(type, [n, v], { scale: 3, rowPad: pad }), token: tensor('i32', [n]), ...numbers },
  };
}

export const suites: OpSuite[] = [
  {
    op: 'sample_token',
    cases: [
      sample(0, 5, {}),
      sample(1, 1, { temperature: 1 }),
      sample(7, 67, {}),
      sample(7, 67, { type: 'bf16' }), // equal logits: the lowest id
      sample(40, 67, { temperature: 1, seed: 5 }),
      sample(40, 67, { temperature: 0.7, topK: 5, seed: 6, pad: 3 }),
      sample(40, 67, { temperature: 1.3, topP: 0.8, seed: 7 }),
      sample(40, 67, { temperature: 1, topK: 20, topP: 0.5, seed: 8 }),
      sample(40, 67, { temperature: 1, topK: 1000, seed: 9 }),
      sample(5, 33, { temperature: 1, topK: 1, seed: 10 }),
      sample(5, 4099, { temperature: 1, topP: 0.9, seed: 11, type: 'bf16' }),
    ],
    bench: [sample(1, 49152, { temperature: 0.8, topP: 0.95, topK: 50 })],
    naive({ logits }, { temperature = 0, topK = 0, topP = 1, seed = 0 }) {
      const L = logits as Matrix;
      const token = new Matrix(1, L.rows);
      for (let n = 0; n < L.rows; n++) {
        let order = Array.from({ length: L.cols }, (_, v) => v).sort((a, b) => L.at(n, b) - L.at(n, a) || a - b);
        if (temperature > 0) {
          if (topK > 0) order = order.slice(0, topK);
          const p = order.map((v) => Math.exp((L.at(n, v) - L.at(n, order[0] as number)) / temperature));
          const total = p.reduce((a, b) => a + b, 0);
          let kept = 0;
          let mass = 0;
          do mass += p[kept++] as number;
          while (kept < p.length && mass < topP * total);
          const drawn = counterUniform(seed, n) * mass;
          let i = 0;
          let below = p[0] as number;
          while (i + 1 < kept && below <= drawn) below += p[++i] as number;
          token.data[n] = order[i] as number;
        } else {
          token.data[n] = order[0] as number;
        }
      }
      return { token };
    },
  },
];
