import type { BatchPlan } from '../data/batching.js';
import type { Session } from './session.js';

export interface Evaluation {
  /** Token-weighted mean negative log-likelihood, in nats. */
  loss: number;
  /** exp(loss) */
  perplexity: number;
  /** Learned tokens it is the mean of. */
  tokens: number;
}

/** Mean loss over all examples of a batch plan; nothing but sums is kept. */
export function evaluateAll(session: Session, batches: BatchPlan): Evaluation {
  let sum = 0;
  let tokens = 0;
  for (let step = 0; step < batches.stepsPerEpoch(0); step++) {
    for (const batch of batches.step(0, step)) {
      const result = session.evaluate(batch);
      sum += result.sum;
      tokens += result.tokens;
    }
  }
  return { loss: sum / tokens, perplexity: Math.exp(sum / tokens), tokens };
}
