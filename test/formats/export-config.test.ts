import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Tensor } from '../../lib/core/tensor.js';
import { writeModelFolder } from '../../lib/formats/export-model.js';
import { openModel } from '../../lib/formats/model-source.js';
import { fixturePath } from '../parity/fixture.js';

const folder = mkdtempSync(join(tmpdir(), 'node-finetune-export-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// transformers 5 refuses to load a config.json that says 5 where it declares a float.
test('whole numbers that config.json writes as floats stay floats', () => {
  const source = openModel(fixturePath('gemma2'), { weights: false });
  const tensor = Tensor.from('f32', [2, 2], [1, 2, 3, 4]);
  writeModelFolder(join(folder, 'gemma2'), { source, tensors: [{ name: 'w', tensor }] });
  tensor.dispose();
  const text = readFileSync(join(folder, 'gemma2', 'config.json'), 'utf8');
  expect(text).toContain('"final_logit_softcapping": 5.0,');
  expect(text).toContain('"attn_logit_softcapping": 3.0,');
  expect(text).toContain('"rope_theta": 10000.0,');
  expect(text).toContain('"vocab_size": 96,');
  expect(JSON.parse(text)).toEqual(source.config);
});
