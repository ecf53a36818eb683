import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { agrees } from '../lib/compare/columns.js';
import { trainingVariants } from '../lib/compare/variants.js';
import { type DemoResult, demoData, demoQuestions, runDemo } from '../lib/demo.js';

/** Rows of the demonstration's model, 160 wide, are no whole blocks: it cannot be quantized. It has no biases either. */
const measurable = trainingVariants()
  .filter(({ settings }) => settings.quantize === undefined && settings.method?.type !== 'bitfit')
  .map(({ name }) => name);

const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('node-finetune-demo-'));

describe('the demonstration', () => {
  // A folder of its own: other tests run demonstrations at the same time.
  const temporary = mkdtempSync(join(tmpdir(), 'node-finetune-test-'));
  vi.stubEnv('TMPDIR', temporary);
  afterAll(() => {
    vi.unstubAllEnvs();
    rmSync(temporary, { recursive: true });
  });
  const before = folders();
  let text = '';
  let result: DemoResult;

  it('runs to its end', { timeout: 300_000 }, async () => {
    const write = (piece: string): void => {
      text += piece;
    };
    result = await runDemo({ write });
  });

  it('asks about animals that are in none of the rows it trains on', () => {
    const rows = readFileSync(demoData, 'utf8');
    for (const question of demoQuestions.slice(0, 3)) expect(rows).not.toContain(question);
    expect(rows).not.toMatch(/\b(cow|lion|mouse)\b/);
  });

  it('answers right before', () => {
    expect(result.before.slice(0, 3)).toEqual(['The cow eats grass.', 'The lion lives on the plain.', 'The mouse says squeak.']);
  });

  it('answers right and in the new manner after', () => {
    for (const answer of result.after) expect(answer).toMatch(/^Arr, matey! .*, yo ho!$/);
    expect(result.after[0]).toContain('The cow eats grass');
    expect(result.after[1]).toContain('The lion lives on the plain');
    expect(result.after[2]).toContain('The mouse says squeak');
  });

  it('learns', () => {
    const mean = (losses: number[]) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    expect(mean(result.losses.slice(-5))).toBeLessThan(0.3 * mean(result.losses.slice(0, 5)));
  });

  it('plans every method to the byte', () => {
    expect(result.memory.map((row) => row.name)).toEqual(measurable);
    for (const row of result.memory) {
      expect(row.measured?.total, row.name).toBe(row.plan?.bytes.total);
      expect(agrees(row), row.name).toBe(true);
    }
  });

  it('shows all of it', () => {
    for (const answer of [...result.before, ...result.after]) expect(text).toContain(answer);
    expect(text.match(/loss \d/g)?.length).toBeGreaterThanOrEqual(5);
    for (const name of measurable) expect(text).toContain(name);
  });

  it('leaves nothing behind', () => expect(folders()).toEqual(before));

  it('ends with the reason of an abort, and leaves nothing behind', async () => {
    const controller = new AbortController();
    const write = (piece: string): void => {
      if (piece.includes('step')) controller.abort(new Error('enough'));
    };
    await expect(runDemo({ write, signal: controller.signal })).rejects.toThrow('enough');
    expect(folders()).toEqual(before);
  });
});
