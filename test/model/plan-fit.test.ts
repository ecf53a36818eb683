import { describe, expect, it } from 'vitest';
import { demoModel } from '../../lib/demo.js';
import { type PlanConfigInput, plan, planFit } from '../../lib/index.js';
import { hasShared, sharedPath } from '../shared.js';

describe.skipIf(!hasShared)('planFit', () => {
  const model = sharedPath('models', 'stories260K', 'config.json');
  const lora: PlanConfigInput = { model, batchSize: 4, maxLength: 512 };
  const full: PlanConfigInput = { ...lora, method: { type: 'full' }, learningRate: 1e-4, maxGradNorm: 1 };

  it('gives back what was asked for where it fits', () => {
    const asked = plan(lora);
    expect(planFit(lora, asked.bytes.total)).toEqual([{ config: lora, plan: asked, reasons: [] }]);
  });

  it.each([
    ['lora', lora],
    ['full', full],
  ])('%s: every proposal fits, is a valid plan to the byte, and changes less the earlier it comes', (_, config) => {
    const limit = plan(config).bytes.total / 4;
    const proposals = planFit(config, limit);
    expect(proposals.length).toBeGreaterThan(1);
    for (const proposal of proposals) {
      expect(proposal.plan.bytes.total).toBeLessThanOrEqual(limit);
      expect(plan(proposal.config)).toEqual(proposal.plan);
    }
    expect(proposals[0]?.plan).toMatchObject({ maxLength: 512 });
  });

  it('groups blocks where single ones do not fit', () => {
    const long = { ...lora, batchSize: 1 };
    const total = (checkpointing: 'block' | number) => plan({ ...long, checkpointing }).bytes.total;
    expect(total(2)).toBeLessThan(total('block'));
    expect(planFit({ ...long, checkpointing: 'block' }, total(2))[0]?.config).toEqual({ ...long, checkpointing: 2 });
  });

  it('checkpointing auto is the least recomputation within memoryLimit', () => {
    const total = (checkpointing: 'none' | 'block') => plan({ ...lora, checkpointing }).bytes.total;
    const chosen = (memoryLimit: number) => plan({ ...lora, checkpointing: 'auto', memoryLimit });
    expect(chosen(total('none'))).toEqual(plan({ ...lora, checkpointing: 'none' }));
    expect(chosen(total('none') - 1)).toEqual(plan({ ...lora, checkpointing: 'block' }));
    // Nothing fits: the smallest, which the run then refuses.
    const least = Math.min(...(['none', 'block', 2] as const).map((checkpointing) => plan({ ...lora, checkpointing }).bytes.total));
    expect(chosen(1000).bytes.total).toBeLessThanOrEqual(least);
  });

  it('keeps the step of a batch that it splits', () => {
    const limit = plan({ ...lora, batchSize: 1, gradientAccumulationSteps: 4 }).bytes.total;
    const split = planFit(lora, limit).find(({ config }) => config.batchSize === 1);
    expect(split?.config).toMatchObject({ batchSize: 1, gradientAccumulationSteps: 4 });
  });

  it('offers fused and adapter training where full training does not fit', () => {
    const { weights } = plan(full).bytes;
    const proposals = planFit({ ...full, batchSize: 1, maxLength: 128 }, 4 * weights);
    const inMemory = proposals.filter(({ config }) => !config.offload);
    const optimizers = inMemory.map(({ plan: p }) => `${p.method} ${p.optimizer} ${p.fused}`);
    expect(optimizers).not.toContain('full adamw false');
    expect(optimizers).toContain('full lomo true');
    for (const { config } of proposals.filter(({ plan: p }) => p.optimizer === 'lomo'))
      expect(config).toMatchObject({ learningRate: 'auto', maxGradNorm: 0 });
  });

  it('is empty where nothing fits, and refuses a limit that is none', () => {
    expect(planFit(lora, 1000)).toEqual([]);
    expect(() => planFit(lora, Number.NaN)).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }));
  });
});

describe('planFit with tiles and scratch files', () => {
  const asked: PlanConfigInput = { model: demoModel, batchSize: 1, maxLength: 256, dtype: 'bf16', checkpointing: 2 };
  const total = (change: Partial<PlanConfigInput>) => plan({ ...asked, ...change }).bytes.total;
  const isOffloaded = ({ config }: { config: PlanConfigInput }) => config.offload !== undefined;

  it('proposes tiles where nothing else keeps the length, last, and says why', () => {
    const tiled = total({ mlpTileRows: 128 });
    expect(tiled).toBeLessThan(total({}));
    const proposals = planFit(asked, tiled);
    expect(proposals[0]?.config.mlpTileRows).toBeUndefined();
    const last = proposals.at(-1);
    expect(last).toEqual({ config: { ...asked, mlpTileRows: 128 }, plan: plan({ ...asked, mlpTileRows: 128 }), reasons: last?.reasons });
    expect(last?.reasons).toEqual([expect.stringMatching(/^mlpTileRows 128: .*same losses/)]);
    // What costs more than tiles and gives no more is left out.
    expect(proposals.some(isOffloaded)).toBe(false);
  });

  it.each<[string, Partial<PlanConfigInput>, object]>([
    ['lora', { optimizer: { type: 'adamw', fused: true } }, { activations: true, optimizer: true, weights: true }],
    ['full', { method: { type: 'full' } }, { activations: true, optimizer: true, gradients: true, weights: true }],
    ['full, lomo', { method: { type: 'full' }, optimizer: { type: 'lomo' } }, { activations: true, optimizer: true, weights: true }],
  ])('%s: block inputs go to scratch files first, weights last', (_name, settings, all) => {
    const common = { ...settings, mlpTileRows: 128 };
    const steps = [{ activations: true }, { activations: true, optimizer: true, ...('gradients' in all && { gradients: true }) }, all];
    for (const offload of steps) {
      const limit = total({ ...common, offload });
      const proposals = planFit({ ...asked, ...settings }, limit);
      const kept = proposals.find(
        (p) => isOffloaded(p) && p.config.maxLength === 256 && p.plan.method === (settings.method?.type ?? 'lora'),
      );
      for (const { plan: p, config } of proposals) expect([p.bytes.total <= limit, plan(config)]).toEqual([true, p]);
      // A step that gives nothing for this optimizer is not proposed over the one before.
      const cheaper = steps.slice(0, steps.indexOf(offload)).find((s) => total({ ...common, offload: s }) <= limit);
      expect(kept?.config.offload).toEqual(cheaper ?? offload);
      expect(kept?.reasons.filter((r) => r.startsWith('offload.')).length).toBe(
        Object.keys(cheaper ?? offload).filter((k) => k !== 'gradients').length,
      );
    }
  });
});
