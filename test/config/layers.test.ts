import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../lib/config/file.js';
import { environmentLayers, type Layer, mergeLayers, singleLayer } from '../../lib/config/layers.js';
import { jsonSchemaOf, resolveLayers } from '../../lib/config/resolve.js';
import { trainConfigSchema } from '../../lib/config/schema.js';

const schema = jsonSchemaOf(trainConfigSchema);
const flag = (path: string, text: string): Layer => singleLayer(path.split('.'), text, { kind: 'flag', label: `--${path}` }, schema);
const file = (text: string) => parseConfig(text, 'run.yaml');

describe('precedence', () => {
  const layers = [
    flag('batchSize', '8'),
    singleLayer(['seed'], '7', { kind: 'set', label: '--set seed=7' }, schema),
    ...environmentLayers(
      { NODE_FINETUNE_THREADS: '3', NODE_FINETUNE_DEVICE: 'cpu', NODE_FINETUNE_MEMORY_LIMIT: '2GiB', NODE_FINETUNE_OTHER: 'x' },
      schema,
    ),
    file('model: m\ndata: d\nout: o\nbatchSize: 2\nseed: 1\nthreads: 9\nmethod:\n  rank: 8\n'),
  ];
  const { config, merged } = resolveLayers(layers);

  it('flags, --set, environment, file, defaults', () => {
    expect(config).toMatchObject({ batchSize: 8, seed: 7, threads: 3, device: 'cpu', memoryLimit: 2 ** 31, maxLength: 1024 });
    expect(config.method).toMatchObject({ type: 'lora', rank: 8, alpha: 32 });
  });

  it.each([
    ['batchSize', '--batchSize'],
    ['seed', '--set seed=7'],
    ['threads', 'NODE_FINETUNE_THREADS'],
    ['model', 'run.yaml:1:8'],
    ['method.rank', 'run.yaml:8:9'],
    ['method.alpha', 'default'],
    ['method.type', 'default'],
    ['maxLength', 'default'],
  ])('the origin of %s is %s', (path, label) => {
    expect(merged.originOf(path.split('.')).label).toBe(label);
  });
});

describe('mergeLayers', () => {
  it('drops the settings of another type of a union', () => {
    const yaml = file('method:\n  type: lora\n  rank: 8\noptimizer:\n  type: lomo\n  clipValue: 1\n');
    const merged = mergeLayers([flag('method', 'full'), flag('optimizer', 'lomo'), yaml], schema);
    expect(merged.value).toEqual({ method: { type: 'full' }, optimizer: { type: 'lomo', clipValue: 1 } });
  });

  it('drops them also where the weaker layer left the type to the default', () => {
    expect(mergeLayers([flag('method', 'full'), file('method:\n  rank: 8\n')], schema).value).toEqual({ method: { type: 'full' } });
    expect(mergeLayers([flag('method', 'lora'), file('method:\n  rank: 8\n')], schema).value).toEqual({
      method: { type: 'lora', rank: 8 },
    });
  });

  it('replaces records and lists as a whole', () => {
    const yaml = file('method:\n  rankPattern: {q_proj: 4}\n  targets: [q_proj, v_proj]\n');
    const merged = mergeLayers([flag('method.rankPattern', 'k_proj=2'), flag('method.targets', 'o_proj'), yaml], schema);
    expect(merged.value).toMatchObject({ method: { rankPattern: { k_proj: 2 }, targets: ['o_proj'] } });
  });

  it('does not reach prototypes', () => {
    mergeLayers([flag('__proto__.polluted', 'yes'), file('__proto__:\n  polluted: yes\n')], schema);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(() => resolveLayers([flag('__proto__.polluted', 'yes')])).toThrow(/__proto__: unknown setting/);
  });
});

describe('text values', () => {
  it.each([
    ['learningRate', '1e-4', 1e-4],
    ['learningRate', 'auto', 'auto'],
    ['batchSize', '8', 8],
    ['batchSize', 'eight', 'eight'],
    ['batchSize', '', ''],
    ['packing', 'false', false],
    ['resume', 'true', true],
    ['resume', './dir', './dir'],
    ['memoryLimit', '8GiB', '8GiB'],
    ['memoryLimit', '4096', 4096],
    ['method.targets', 'all-linear', 'all-linear'],
    ['method.targets', 'q_proj, v_proj', ['q_proj', 'v_proj']],
    ['method.rankPattern', 'q_proj=8,layers.0.mlp=4', { q_proj: 8, 'layers.0.mlp': 4 }],
    ['model', '123', '123'],
  ])('%s=%s', (path, text, value) => {
    const keys = path.split('.');
    const merged = mergeLayers([flag(path, text)], schema);
    expect(keys.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], merged.value)).toEqual(value);
  });
});
