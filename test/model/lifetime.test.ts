import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { memoryStatistics } from '../../lib/core/memory.js';
import { loadModel } from '../../lib/index.js';
import { fileIn, temporaryFolder } from '../formats/temporary.js';
import { hasShared, sharedPath } from '../shared.js';
import { trainAdapter } from './adapter.js';

const path = sharedPath('models', 'stories260K');

describe.skipIf(!hasShared)('memory of a model', () => {
  const folder = temporaryFolder();

  it('comes back at dispose, twice or not', async () => {
    const { out } = await trainAdapter(folder, path);
    const before = memoryStatistics().current;
    const model = await loadModel({ path, adapter: out });
    expect(memoryStatistics().current.mapped).toBeGreaterThan(before.mapped);
    expect(memoryStatistics().current.weights).toBeGreaterThan(before.weights);
    for await (const _ of model.generate('Once', { maxNewTokens: 3 }));
    model.dispose();
    model.dispose();
    expect(memoryStatistics().current).toEqual(before);
  });

  it('of a generation at work comes back too, and its next token is refused', async () => {
    const before = memoryStatistics().current;
    const model = await loadModel({ path });
    const pieces = model.generate('Once', { maxNewTokens: 20 })[Symbol.asyncIterator]();
    await pieces.next();
    model.dispose();
    expect(memoryStatistics().current).toEqual(before);
    await expect(pieces.next()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    expect(memoryStatistics().current).toEqual(before);
  });

  it('everything after dispose is refused with the name of the model', async () => {
    const model = await loadModel({ path });
    model.dispose();
    const disposed = { code: 'ERR_DISPOSED', message: expect.stringContaining(path) };
    expect(() => model.generate('Once')).toThrow(expect.objectContaining(disposed));
    expect(() => model.logits([1])).toThrow(expect.objectContaining(disposed));
    await expect(model.generateTokens([1])).rejects.toMatchObject(disposed);
    await expect(model.evaluate('x.json')).rejects.toMatchObject(disposed);
    await expect(model.merge(join(folder, 'm'))).rejects.toMatchObject(disposed);
  });

  it('a load that fails keeps nothing', async () => {
    const before = memoryStatistics().current;
    const config = fileIn(folder, 'config.json', '{"model_type":"llama"}');
    await expect(loadModel({ path: config })).rejects.toMatchObject({ code: 'ERR_FILE' });
    await expect(loadModel({ path: sharedPath('models', 'rwkv4-tiny-660K') })).rejects.toMatchObject({ code: 'ERR_MODEL_UNSUPPORTED' });
    await expect(loadModel({ path, adapter: path })).rejects.toMatchObject({ code: 'ERR_FILE' });
    await expect(loadModel({ path, dtype: 'f8' } as never)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    await expect(loadModel({ path, signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    expect(memoryStatistics().current).toEqual(before);
  });
});
