import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifest, output, root, which } from './repository.js';

const model = join(root, 'test', 'fixtures', 'models', 'llama');

// What a user does, on a machine with nothing but Node: no compiler, no Python, and no scripts of packages run.
describe.skipIf(process.platform === 'win32')('the packed package in an empty folder', () => {
  let folder: string;
  let env: NodeJS.ProcessEnv;

  const npx = (...args: string[]) => spawnSync('npx', ['--no-install', 'node-finetune', ...args], { cwd: folder, env, encoding: 'utf8' });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'node finetune é '));
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
    for (const name of ['npm', 'npx', 'sh']) symlinkSync(realpathSync(which(name) ?? ''), join(bin, name));
    env = { ...process.env, PATH: bin, npm_config_ignore_scripts: 'true', npm_config_cache: process.env.npm_config_cache };
    delete env.NODE_FINETUNE_PREBUILD;
    delete env.NODE_PATH;

    output(process.execPath, [join(root, 'scripts', 'prebuild.mjs')]);
    output('npm', ['pack', '--ignore-scripts', '--pack-destination', folder]);
    writeFileSync(join(folder, 'package.json'), '{ "name": "empty", "private": true }\n');
    const tarball = `./${manifest.name}-${manifest.version}.tgz`;
    output('npm', ['install', tarball, '--prefer-offline', '--no-audit', '--no-fund'], { cwd: folder, env });
  }, 600_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  it('has no compiler to fall back on', () => {
    for (const name of ['g++', 'c++', 'make', 'cmake', 'python3']) {
      expect(spawnSync(name, ['--version'], { env }).error, name).toBeDefined();
    }
    expect(readdirSync(join(folder, 'node_modules', manifest.name))).not.toContain('build');
  });

  it('says which kernels run', () => {
    const doctor = npx('doctor', '--json');
    expect(doctor.status, doctor.stderr).toBe(0);
    expect(doctor.stdout).toMatch(/avx512|avx2|baseline/);
  });

  it('trains an adapter', () => {
    const rows = Array.from({ length: 16 }, (_, row) => {
      const ids = Array.from({ length: 12 }, (_, i) => 3 + ((row + i) % 8));
      return JSON.stringify({ input_ids: ids, labels: ids });
    });
    writeFileSync(join(folder, 'data.jsonl'), `${rows.join('\n')}\n`);
    const train = npx('train', model, 'data.jsonl', '--out', 'adapter', '--max-steps', '4', '--max-length', '16', '--json');
    expect(train.status, train.stderr).toBe(0);
    const events = train.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; loss?: number });
    const losses = events.filter((e) => e.type === 'step').map((e) => e.loss ?? Number.NaN);
    expect(losses).toHaveLength(4);
    expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0);
    for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
      expect(existsSync(join(folder, 'adapter', name)), name).toBe(true);
  });

  it('runs the demo', { timeout: 300_000 }, () => {
    const demo = npx('demo');
    expect(demo.status, demo.stderr).toBe(0);
  });

  it('loads with import and with require, and its types compile under either', () => {
    writeFileSync(
      join(folder, 'consumer.mts'),
      "import { loadModel } from 'node-finetune';\nexport const load: typeof loadModel = loadModel;\n",
    );
    writeFileSync(
      join(folder, 'consumer.cts'),
      "import finetune = require('node-finetune');\nexport const load: typeof finetune.loadModel = finetune.loadModel;\n",
    );
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const types = join(root, 'node_modules', '@types');
    const options = ['--module', 'node20', '--target', 'es2022', '--lib', 'es2023,esnext.disposable', '--strict', '--types', 'node'];
    output(process.execPath, [tsc, ...options, '--typeRoots', types, 'consumer.mts', 'consumer.cts'], { cwd: folder });
    for (const file of ['consumer.mjs', 'consumer.cjs']) {
      const program = `import('./${file}').then((m) => console.log(typeof m.load))`;
      expect(output(process.execPath, ['-e', program], { cwd: folder, env }).trim()).toBe('function');
    }
  });

  it('carries the schema of configuration files', () => {
    const schema = readFileSync(join(folder, 'node_modules', manifest.name, 'schema.json'), 'utf8');
    expect(schema).toBe(readFileSync(join(root, 'schema.json'), 'utf8'));
  });
});
