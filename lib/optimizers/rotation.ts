import type { Parameter } from '../core/parameter.js';

/** What a rotation needs to see of a model. */
export interface Rotatable {
  readonly embedding: Parameter;
  readonly blocks: readonly { parameters(): Iterable<Parameter> }[];
  readonly norm: { readonly weight: Parameter };
  /** The embedding itself when tied. */
  readonly head: Parameter;
}

/** The parts of a model that take turns. What is in neither list stays frozen. */
export interface RotationParts {
  /** Trains in every step. */
  always: readonly Parameter[];
  units: readonly (readonly Parameter[])[];
}

/**
 * Trains a part of the model at a time. Units that become active start with fresh states, and those of units that no longer are
 * are dropped, so that memory is needed for the active ones alone.
 */
export interface Rotation {
  /** Steps that a choice lasts. */
  readonly switchEvery: number;
  /** How many units are active at a time. */
  readonly activeUnits: number;
  /** @throws ERR_CONFIG_INVALID when the model has too few units */
  parts(model: Rotatable): RotationParts;
  /** Indices of the active ones of `units` units, ascending, in choice number `turn` from 0. The same for the same seed. */
  choose(turn: number, units: number, seed: number): number[];
}
