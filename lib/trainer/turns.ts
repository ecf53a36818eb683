import type { Parameter } from '../core/parameter.js';
import type { TrainedParameter } from '../methods/method.js';
import type { Rotatable, Rotation, RotationParts } from '../optimizers/rotation.js';

/** What trains in a step. */
export interface ActiveSet {
  /** Their states go on from the step before. */
  readonly always: readonly Parameter[];
  /** Their states are zero when the turn begins. */
  readonly turning: readonly Parameter[];
  /** First step of the turn. */
  readonly firstStep: number;
}

/** Everything an active set trains, in the order of its memory. */
export const parametersOf = ({ always, turning }: ActiveSet): readonly Parameter[] => [...always, ...turning];

/** When which trained parameters are active: all of them always, or as an optimizer's rotation says. */
export class Turns {
  /** What trains at some time; the rest of the method's parameters stays frozen. */
  readonly trained: readonly TrainedParameter[];
  private readonly rotation: Rotation | undefined;
  private readonly parts: RotationParts;
  private readonly seed: number;

  constructor(rotation: Rotation | undefined, model: Rotatable, candidates: readonly TrainedParameter[], seed: number) {
    this.rotation = rotation;
    this.seed = seed;
    this.parts = rotation?.parts(model) ?? { always: candidates.map((t) => t.parameter), units: [] };
    const wanted = new Set([...this.parts.always, ...this.parts.units.flat()]);
    for (const { parameter } of candidates) parameter.trainable = wanted.has(parameter);
    this.trained = candidates.filter(({ parameter }) => wanted.has(parameter));
  }

  /** Whether what trains changes. */
  get rotates(): boolean {
    return this.rotation !== undefined;
  }

  /** Number of the turn that a step belongs to, from 0. */
  turnOf(step: number): number {
    return this.rotation ? Math.floor((step - 1) / this.rotation.switchEvery) : 0;
  }

  /** What is active in turn number `turn`. */
  active(turn: number): ActiveSet {
    const { rotation, parts, seed } = this;
    if (!rotation) return this.set([], 1);
    return this.set(rotation.choose(turn, parts.units.length, seed), turn * rotation.switchEvery + 1);
  }

  /**
   * Sets of which the one that takes most memory of a step takes as much as any that may come: every unit is active in one of them.
   * Between the backward passes of two blocks the arena holds the same tensors whatever trains, so that the peak within a block depends on
   * that block alone, and on where the backward pass ends: with one active unit each is a set, with more everything
   * down to the embedding trains.
   */
  extremes(): ActiveSet[] {
    const count = this.rotation?.activeUnits ?? 0;
    const units = this.parts.units.map((_, i) => i);
    if (count === 0 || units.length === 0) return [this.set([], 1)];
    const sets: ActiveSet[] = [];
    for (let begin = 0; begin < units.length; begin += count) {
      const first = Math.min(begin, units.length - count);
      sets.push(this.set(units.slice(first, first + count), 1));
    }
    return sets;
  }

  /** The set that needs most when a parameter needs `bytes` for itself. */
  largest(bytes: (p: Parameter) => number): ActiveSet {
    const size = (unit: number) => (this.parts.units[unit] as readonly Parameter[]).reduce((sum, p) => sum + bytes(p), 0);
    const order = this.parts.units.map((_, i) => i).sort((a, b) => size(b) - size(a) || a - b);
    return this.set(order.slice(0, this.rotation?.activeUnits ?? 0), 1);
  }

  private set(units: readonly number[], firstStep: number): ActiveSet {
    return { always: this.parts.always, turning: units.flatMap((u) => this.parts.units[u] as readonly Parameter[]), firstStep };
  }
}
