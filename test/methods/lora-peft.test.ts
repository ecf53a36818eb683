import { expect, test } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import type { LoraConfig, PlanConfigInput } from '../../lib/config/schema.js';
import { loraPeftConfig } from '../../lib/methods/lora-peft.js';
import { pack } from '../parity/fixture.js';
import { openSession, product } from '../parity/model-session.js';
import { initialAdapter } from '../parity/trajectory.js';
import { hasShared, sharedPath } from '../shared.js';

const model = sharedPath('models', 'stories260K');

function peftConfig(method: PlanConfigInput['method']) {
  const session = openSession(model, { method }, [pack([[1, 2]], [[1, 2]])], product);
  const config = loraPeftConfig(session.model, resolvePlanConfig({ model, method }).method as LoraConfig, model);
  session.dispose();
  return config;
}

test.skipIf(!hasShared)('a continued adapter keeps its own rank and alpha, whatever the settings say', () => {
  const config = peftConfig({ type: 'lora', initAdapter: initialAdapter, rank: 5, alpha: 7 });
  expect(config).toMatchObject({ r: 8, lora_alpha: 16, use_rslora: false, rank_pattern: {}, alpha_pattern: {} });
});

test.skipIf(!hasShared)('a fresh adapter says what was configured', () => {
  const config = peftConfig({ type: 'lora', rank: 4, alpha: 6, useRslora: true, targets: ['q_proj'], rankPattern: { 'layers.1.*': 2 } });
  expect(config).toMatchObject({ r: 4, lora_alpha: 6, use_rslora: true, target_modules: ['q_proj'], rank_pattern: { 'layers.1.*': 2 } });
});
