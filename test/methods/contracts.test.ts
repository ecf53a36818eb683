// What every method promises, over the registry: a method without a line here fails.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolvePlanConfig } from '../../lib/config/resolve.js';
import type { PlanConfigInput } from '../../lib/config/schema.js';
import { openModel } from '../../lib/formats/model-source.js';
import { loadModel } from '../../lib/index.js';
import { type MethodName, methodNames, methodOf } from '../../lib/methods/index.js';
import { planRun } from '../../lib/trainer/plan.js';
import { saveResult } from '../../lib/trainer/save-result.js';
import type { Session } from '../../lib/trainer/session.js';
import { temporaryFolder } from '../formats/temporary.js';
import { fixturePath, pack } from '../parity/fixture.js';
import { largestDifference, logitsOf, openSession, product } from '../parity/model-session.js';
import { hasShared, sharedPath } from '../shared.js';
import { privateBytes, type Settings, sampleBatch, sampleSequences } from '../trainer/sessions.js';

type MethodInput = NonNullable<PlanConfigInput['method']>;

/** Settings with which a method has something to do, and which of a block's tensors train. */
const methods: Record<MethodName, { settings: MethodInput; trains: RegExp }[]> = {
  lora: [
    { settings: { type: 'lora', rank: 4 }, trains: /\.lora_[AB]\.weight$/ },
    { settings: { type: 'lora', rank: 4, freezeA: true, init: 'gaussian', loraPlusRatio: 2 }, trains: /\.lora_B\.weight$/ },
    { settings: { type: 'lora', rank: 4, targets: ['o_proj'] }, trains: /o_proj\.lora_[AB]\.weight$/ },
  ],
  dora: [
    { settings: { type: 'dora', rank: 4 }, trains: /\.lora_([AB]\.weight|magnitude_vector)$/ },
    { settings: { type: 'dora', rank: 4, freezeA: true, useRslora: true }, trains: /\.lora_(B\.weight|magnitude_vector)$/ },
  ],
  ia3: [
    { settings: { type: 'ia3' }, trains: /(k_proj|v_proj|down_proj)\.ia3_l$/ },
    { settings: { type: 'ia3', targets: ['*_proj'], feedForwardTargets: ['q_proj', 'up_proj'] }, trains: /_proj\.ia3_l$/ },
  ],
  norms: [
    { settings: { type: 'norms' }, trains: /norm\.weight$/ },
    { settings: { type: 'norms', targets: ['post_attention_layernorm'] }, trains: /\.post_attention_layernorm\.weight$/ },
  ],
  bitfit: [
    { settings: { type: 'bitfit' }, trains: /_proj\.bias$/ },
    { settings: { type: 'bitfit', targets: ['mlp.*'] }, trains: /mlp\.\w+_proj\.bias$/ },
  ],
  full: [
    { settings: { type: 'full', dtype: 'f32' }, trains: /./ },
    {
      settings: { type: 'full', dtype: 'f32', targets: ['down_proj', 'layers.0.*', 'norm'] },
      trains: /down_proj|layers\.0\.|^model\.norm/,
    },
  ],
};

/** A model whose linear layers all have biases. */
const biased = fixturePath('llama-bias');
const { ids: sequences } = sampleSequences();
const batch = sampleBatch();
const rate = 0.02;

const logits = (session: Session): Float64Array => Float64Array.from(logitsOf(session, batch, product));
const open = (settings: Settings, model = biased): Session => openSession(model, settings, [batch], product);

function steps(session: Session, count: number): number[] {
  return Array.from({ length: count }, (_, i) => session.step([batch], i + 1, rate).loss);
}

const cases = methodNames.flatMap((name) => methods[name].map((c, i) => ({ ...c, name: `${name} ${i}` })));

describe.each(cases)('$name', ({ settings, trains }) => {
  const method = settings;

  it('leaves the model as it is at first', () => {
    const [plain, adapted] = [open({ method: { type: 'full', dtype: 'f32' } }), open({ method })];
    expect(largestDifference(logits(adapted), logits(plain))).toBeLessThan(1e-5);
    plain.dispose();
    adapted.dispose();
  });

  it('learns, and moves nothing but its own parameters', () => {
    const session = open({ method });
    const names = session.trained.map((p) => p.name);
    expect(names.filter((n) => !trains.test(n))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
    const all = [...session.model.parameters()];
    const bytes = () => new Map(all.map((p) => [p.name, Buffer.from(p.value.readBytes()).toString('base64')]));
    const before = bytes();
    const losses = steps(session, 5);
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    const moved = [...bytes()].filter(([n, b]) => before.get(n) !== b).map(([n]) => n);
    expect(moved.sort()).toEqual(names.sort());
    session.dispose();
  });

  it('gives the same logits from its files, and merged', async () => {
    const folder = temporaryFolder();
    const out = join(folder, 'out');
    const session = open({ method });
    const before = logits(session);
    steps(session, 5);
    const trained = sequences.map((ids) => Float64Array.from(logitsOf(session, pack([ids], [ids]), product)));
    expect(largestDifference(logits(session), before)).toBeGreaterThan(1e-3);
    saveResult(session, openModel(biased, { weights: false }), resolvePlanConfig({ model: biased, method }), out, { overwrite: false });
    session.dispose();

    // f32 rounds to a share of the largest logit.
    const bar = 1e-5 * Math.max(1, ...trained.flatMap((row) => [...row]).map(Math.abs));
    const isAdapter = methodOf(method).peftConfig !== undefined;
    const far = async (options: { path: string; adapter?: string }) => {
      await using model = await loadModel(options);
      return Math.max(
        ...sequences.map((ids, i) =>
          largestDifference(
            model.logits(ids).flatMap((r) => [...r]),
            trained[i] as Float64Array,
          ),
        ),
      );
    };
    expect(await far(isAdapter ? { path: biased, adapter: out } : { path: out })).toBeLessThan(bar);
    if (!isAdapter) return;
    await using adapted = await loadModel({ path: biased, adapter: out });
    const { out: merged } = await adapted.merge(join(folder, 'merged'), { dtype: 'f32' });
    expect(await far({ path: merged })).toBeLessThan(bar);

    const session2 = open({ method: { ...method, initAdapter: out } as MethodInput });
    const trainedAgain = sequences.map((ids) => Float64Array.from(logitsOf(session2, pack([ids], [ids]), product)));
    expect(Math.max(...trainedAgain.map((l, i) => largestDifference(l, trained[i] as Float64Array)))).toBeLessThan(bar);
    expect(session2.trained.length).toBeGreaterThan(0);
    session2.dispose();
  });
});

const quantized = join(import.meta.dirname, '..', 'fixtures', 'quantized', 'plain');
const bases: { base: string; model: string; settings: Settings; dtype: 'f32' | 'bf16' }[] = [
  { base: 'bf16', model: biased, settings: { dtype: 'bf16' }, dtype: 'bf16' },
  { base: 'nf4', model: quantized, settings: { quantize: 'nf4' }, dtype: 'f32' },
  ...(hasShared
    ? [{ base: 'gguf', model: sharedPath('models', 'stories260K-variants', 'stories260K-q8_0.gguf'), settings: {}, dtype: 'f32' as const }]
    : []),
];

/** Why a method does not train over a base, where it does not. */
function refusal(name: MethodName, base: string): RegExp | undefined {
  if (name === 'bitfit' && base !== 'bf16') return /no linear layer of this model has a bias.*use method norms/s;
  if (name === 'full' && base === 'nf4') return /method full changes the weights.*use method lora/s;
  return undefined;
}

describe.each(bases)('over $base', ({ base, model, settings, dtype }) => {
  it.each(methodNames)('%s learns in the planned bytes, or says why not', (name) => {
    const method = methods[name][0]?.settings as MethodInput;
    const config = { ...settings, method };
    const arithmetic = { ...product, dtype };
    const refused = refusal(name, base);
    if (refused) {
      expect(() => openSession(model, config, [batch], arithmetic)).toThrow(refused);
      return;
    }
    const source = openModel(model);
    const capacity = { tokens: batch.inputIds.length, sequences: 3, labelTokens: batch.labelRows.length };
    const planned = planRun(resolvePlanConfig({ model, ...config }), source, capacity).bytes;
    source.weights?.close();
    const before = privateBytes();
    const session = openSession(model, config, [batch], arithmetic);
    expect(session.plan()).toEqual(planned);
    expect(privateBytes() - before).toBe(planned.total);
    const losses = Array.from({ length: 8 }, (_, i) => session.step([batch], i + 1, rate / 2).loss);
    expect(session.arenaPeakBytes).toBe(planned.arena);
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    session.dispose();
    expect(privateBytes()).toBe(before);
  });
});

describe('targets', () => {
  it.each<[MethodInput, RegExp]>([
    [
      { type: 'lora', targets: ['q_porj'] },
      /"q_porj" matches no linear layer; did you mean q_proj\?; the linear layers are named q_proj, k_proj/,
    ],
    [{ type: 'dora', targets: ['attn'] }, /"attn" matches no linear layer; the linear layers are named/],
    [{ type: 'ia3', targets: ['k_proj'], feedForwardTargets: ['down_proj'] }, /method\.feedForwardTargets: "down_proj" matches no target/],
    [
      { type: 'norms', targets: ['input_norm'] },
      /"input_norm" matches no norm; .*the norms are named input_layernorm, post_attention_layernorm, norm/,
    ],
    [{ type: 'bitfit', targets: ['norm'] }, /"norm" matches no layer with a bias/],
    [{ type: 'full', targets: ['lm_hed'] }, /"lm_hed" matches no module; did you mean lm_head\?/],
    [{ type: 'full', targets: ['norm'], trainLastLayers: 1 }, /targets and trainLastLayers exclude each other/],
  ])('%o are refused in words', (method, says) => {
    expect(() => open({ method })).toThrow(says);
  });
});
