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
        { config, plan: report },
        {
          config: { ...config, checkpointing: 'block' as const, method: { type: 'lora' as const, rank: 8 } },
          plan: { ...report, checkpointing: 'block' as const },
        },
      ];
    };
    const { code, stdout } = await cli(['plan', 'm', '--fit', '8GiB'], { api: { planFit } });
    expect({ code, limit }).toEqual({ code: 0, limit: 8 * 2 ** 30 });
    await expect(stdout).toMatchFileSnapshot('golden/plan-fit.txt');
  });

  it('--fit with nothing that fits, or with no size', async () => {
    expect(await cli(['plan', 'm', '--fit', '1KiB'], { api: { planFit: () => [] } })).toMatchObject({ code: 4, stdout: '' });
    const bad = await cli(['plan', 'm', '--fit', 'small']);
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain('--fit: wanted a size such as 512MiB or 8GiB, got "small"');
  });
});
