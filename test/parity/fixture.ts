import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostBatch } from '../../lib/models/batch.js';

const models = join(import.meta.dirname, '..', 'fixtures', 'models');

export interface GradientSummary {
  norm: number;
  /** Sum over the flat tensor of g[i] * sin(i + 1). */
  dot: number;
  first: number[];
}

/** expected.json: see scripts/fixtures/make_tiny_models.py. */
export interface Expected {
  inverseFrequencies: Record<string, number[]>;
  sequences: number[][];
  labels: number[][];
  labelTokens: number;
  loss: number;
  logits: { sequence: number; position: number; values: number[] }[];
  gradients: Record<string, GradientSummary>;
}

export const fixtureNames = readdirSync(models).sort();

export function fixturePath(name: string): string {
  return join(models, name);
}

export function readJson<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(join(...parts), 'utf8')) as T;
}

export function readExpected(name: string): Expected {
  return readJson(fixturePath(name), 'expected.json');
}

/** Sequences packed one behind the other. labels as transformers takes them: labels[i] is learned at position i - 1, -100 = none. */
export function pack(sequences: readonly (readonly number[])[], labels: readonly (readonly number[])[]): HostBatch {
  const targets = labels.flatMap((row) => [...row.slice(1), -100]);
  const cuSeqlens = [0];
  for (const s of sequences) cuSeqlens.push((cuSeqlens.at(-1) as number) + s.length);
  return {
    inputIds: Int32Array.from(sequences.flat()),
    targets: Int32Array.from(targets),
    positions: Int32Array.from(sequences.flatMap((s) => s.map((_, i) => i))),
    cuSeqlens: Int32Array.from(cuSeqlens),
    labelRows: Int32Array.from(targets.flatMap((t, row) => (t >= 0 ? [row] : []))),
  };
}

export function summarize(values: ArrayLike<number>): GradientSummary {
  let squares = 0;
  let dot = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    squares += v * v;
    dot += v * Math.sin(i + 1);
  }
  return { norm: Math.sqrt(squares), dot, first: Array.from({ length: Math.min(4, values.length) }, (_, i) => values[i] as number) };
}

/** Largest difference of two summaries, relative to the norm. */
export function summaryDistance(got: GradientSummary, want: GradientSummary): number {
  const differences = [got.norm - want.norm, got.dot - want.dot, ...want.first.map((v, i) => (got.first[i] as number) - v)];
  return Math.max(...differences.map(Math.abs)) / want.norm;
}
