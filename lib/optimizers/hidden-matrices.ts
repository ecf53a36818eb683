import { isLinearWeight, type Parameter } from '../core/parameter.js';
import type { Optimizer } from './optimizer.js';

/**
 * For updates of the linear layers of the blocks, each weight as it is stored: embeddings, the head, norms and biases get `rest`, as in
 * the published code of muon, galore and apollo.
 */
export function onHiddenMatrices(matrices: Required<Omit<Optimizer, 'rule' | 'forwardStep'>>, rest: Optimizer): Optimizer {
  const isHidden = ({ name, shape }: Parameter) => isLinearWeight(name, shape);
  return {
    name: matrices.name,
    states: (p) => (isHidden(p) ? matrices : rest).states(p),
    rule: (p, states, context) => (isHidden(p) ? undefined : rest.rule(p, states, context)),
    update: (run, p, grad, states, context) => matrices.update(run, p, grad, states, context),
  };
}

/** Refusals of methods for them: an adapter is neither the matrix that they are made for, nor large. */
export const wholeMatricesOnly = (name: string) => ({
  lora: `${name} updates whole weight matrices, and the factors of an adapter are small; use adamw with lora, or method full`,
});
