import { describe, expect, it } from 'vitest';
import type { PlanConfigInput } from '../../lib/config/schema.js';
import { cli, report } from './fake-context.js';

describe('plan', () => {
  it('needs no data and prints the table', async () => {
    let given: PlanConfigInput | undefined;
    const plan = (config: PlanConfigInput) => {
      given = config;
      return report;
    };
    const { code, stdout } = await cli(['plan', './config.json', '--method', 'full', '--optimizer', 'lomo', '--batch-size', '2'], {
      api: { plan },
    });
    expect(code).toBe(0);
    expect(given).toEqual({ model: './config.json', method: { type: 'full' }, optimizer: { type: 'lomo' }, batchSize: 2 });
    await expect(stdout).toMatchFileSnapshot('golden/plan.txt');
  });

  it('--json is the report', async () => {
    expect(JSON.parse((await cli(['plan', 'm', '--json'], { api: { plan: () => report } })).stdout)).toEqual(report);
  });

  it('exits with 4 when the plan is over the limit', async () => {
    expect((await cli(['plan', 'm', '--memory-limit', '1MB'], { api: { plan: () => report } })).code).toBe(0);
    const over = await cli(['plan', 'm', '--memory-limit', '999999'], { api: { plan: () => report } });
    expect(over.code).toBe(4);
    expect(over.stderr).toContain('Needs 1 B more');
  });

  it('--fit lists proposals with what they change', async () => {
    let limit: number | undefined;
    const planFit = (config: PlanConfigInput, bytes: number) => {
      limit = bytes;
      return [
        { config, plan: report, reasons: [] },
        {
          config: { ...config, checkpointing: 'block' as const, method: { type: 'lora' as const, rank: 8 } },
          plan: { ...report, checkpointing: 'block' as const },
          reasons: ['checkpointing block: slower', 'method lora: adapters'],
        },
      ];
    };
    const { code, stdout } = await cli(['plan', 'm', '--fit', '8GiB'], { api: { planFit } });
    expect({ code, limit }).toEqual({ code: 0, limit: 8 * 2 ** 30 });
    await expect(stdout).toMatchFileSnapshot('golden/plan-fit.txt');
  });

  it('--compare prints every row in every format', async () => {
    let given: PlanConfigInput | undefined;
    const { arena, other, checkpoints, workspace } = report.bytes;
    const bytes = { ...report.bytes, activations: arena - checkpoints - workspace, batch: other, inFile: 4_000_000 };
    const config = { model: 'm' };
    const planCompare = (asked: PlanConfigInput) => {
      given = asked;
      return [
        { part: 'methods' as const, name: 'lora, adamw', checkpointing: 'none' as const, config, plan: report, bytes, computedBytes: 0 },
      ];
    };
    const run = (...args: string[]) => cli(['plan', 'm', '--compare', '--batch-size', '2', ...args], { api: { planCompare } });
    await expect((await run()).stdout).toMatchFileSnapshot('golden/plan-compare.txt');
    expect(given).toEqual({ model: 'm', batchSize: 2 });
    expect((await run('--format', 'csv')).stdout).toContain('plannedBytes');
    expect(JSON.parse((await run('--json')).stdout)).toEqual(JSON.parse((await run('--format', 'json')).stdout));
    expect((await run('--format', 'markdown')).stdout).toContain('| lora, adamw |');
    expect((await run('--format', 'svg')).stdout).toMatch(/^<svg /);
  });

  it.each([
    [['--compare', '--fit', '8GiB'], '--compare: excludes --fit'],
    [['--format', 'csv'], '--format: is for --compare'],
    [['--compare', '--json', '--format', 'csv'], '--format: csv and --json exclude each other'],
    [['--compare', '--format', 'xml'], 'xml'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await cli(['plan', 'm', ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  it('--fit with nothing that fits, or with no size', async () => {
    expect(await cli(['plan', 'm', '--fit', '1KiB'], { api: { planFit: () => [] } })).toMatchObject({ code: 4, stdout: '' });
    const bad = await cli(['plan', 'm', '--fit', 'small']);
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain('--fit: wanted a size such as 512MiB or 8GiB, got "small"');
  });
});
