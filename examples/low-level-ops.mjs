// Ops without a model: fits a linear layer by gradient descent in the epilogue of its weight gradient. No gradient buffer exists.
import { HostContext, memoryStatistics, ops, Tensor } from 'node-finetune/low-level';

const [n, inputs, outputs] = [64, 16, 8];
const context = new HostContext('cpu');
const random = (shape, seed) => {
  const y = Tensor.allocate('f32', shape, 'other');
  ops.randomFill(context, { y, kind: 1, low: 0, high: 1, seed });
  return y;
};

const x = random([n, inputs], 1);
const wanted = random([outputs, inputs], 2); // the weights to be found
const weight = Tensor.allocate('f32', [outputs, inputs], 'weights'); // starts at zero
const negatedTarget = Tensor.allocate('f32', [n, outputs], 'other');
const difference = Tensor.allocate('f32', [n, outputs], 'other');
ops.linearForward(context, { x, weight: wanted, y: negatedTarget });
ops.scale(context, { x: negatedTarget, y: negatedTarget, scale: -1 });

const meanSquare = () => difference.read().reduce((sum, d) => sum + d * d, 0) / difference.numElements;
for (let step = 1; step <= 60; step++) {
  ops.linearForward(context, { x, weight, residual: negatedTarget, y: difference }); // x W^T - target
  ops.linearBackwardWeightUpdate(context, {
    dy: difference,
    x,
    weight,
    scale: 1 / n,
    updateKind: ops.updateKinds.indexOf('sgd'),
    learningRate: 0.4,
    step,
  });
  if (step === 1 || step % 20 === 0) console.log(`step ${step}: mean square ${meanSquare().toExponential(2)}`);
}
console.log('native bytes now:', memoryStatistics().heapCurrent);
if (!(meanSquare() < 1e-3)) throw new Error('it did not converge');
for (const tensor of [x, wanted, weight, negatedTarget, difference]) tensor.dispose();
