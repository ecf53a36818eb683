/** Learning rate over the run, as a factor on the peak rate. */
export interface Schedule {
  type: 'constant' | 'linear' | 'cosine';
  /** Steps of linear warm-up from 0. */
  warmupSteps: number;
  /** Rate at the end as a fraction of the peak. */
  minLearningRateRatio: number;
}

/** Shape of the decay over progress in [0, 1]. One line per schedule. */
const decays: Record<Schedule['type'], (progress: number) => number> = {
  constant: () => 1,
  linear: (progress) => 1 - progress,
  cosine: (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
};

/**
 * Factor for optimizer step `step` (from 1) of `steps`: warm-up rises to 1 at step warmupSteps + 1 as transformers' schedulers do
 * (step t uses the factor of t - 1 finished steps), then decays to minLearningRateRatio.
 */
export function scheduleFactor(schedule: Schedule, step: number, steps: number): number {
  const done = step - 1;
  const { warmupSteps, minLearningRateRatio } = schedule;
  if (done < warmupSteps) return done / warmupSteps;
  const progress = Math.min(1, (done - warmupSteps) / Math.max(1, steps - warmupSteps));
  return minLearningRateRatio + (1 - minLearningRateRatio) * decays[schedule.type](progress);
}
