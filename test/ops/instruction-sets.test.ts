// cpu-vs-ref.test.ts once more for every other instruction set this processor has: the choice is made once per process.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { native, packageRoot } from '../../lib/native/loader.js';

const current = native((a) => a.instructionSet());
const probe =
  "import { createRequire } from 'node:module'; createRequire(process.argv[1])('node-gyp-build')(process.argv[2]).instructionSet();";

function supported(instructionSet: string): boolean {
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', probe, join(packageRoot, 'package.json'), packageRoot], {
    env: { ...process.env, NODE_FINETUNE_CPU: instructionSet },
  });
  return status === 0;
}

describe.each(['baseline', 'avx2', 'avx512', 'avx512bf16'].filter((set) => set !== current))('%s', (set) => {
  const here = supported(set);
  it.skipIf(!here)(
    here ? 'cpu kernels agree with the reference' : `skipped: this processor has no ${set}`,
    () => {
      const vitest = join(packageRoot, 'node_modules', 'vitest', 'vitest.mjs');
      const run = spawnSync(process.execPath, [vitest, 'run', 'test/ops/cpu-vs-ref.test.ts', '--reporter=verbose'], {
        cwd: packageRoot,
        env: { ...process.env, NODE_FINETUNE_CPU: set, NO_COLOR: '1' },
        encoding: 'utf8',
      });
      expect(run.status, `${run.stdout}${run.stderr}`).toBe(0);
      expect(run.stdout).toContain(`on ${set}`);
    },
    300_000,
  );
});

it('an instruction set that does not exist is refused', () => {
  expect(supported('avx1024')).toBe(false);
});
