import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Tensor } from '../core/tensor.js';
import { FinetuneError } from '../native/errors.js';
import { sumOfSquares } from '../native/ops.js';
import { writeFileAtomic, writeFolderAtomic } from './atomic-file.js';
import { corruptFile, fileError, shown, unsupportedFile } from './file-error.js';
import { HostContext } from './host-ops.js';
import { type JsonObject, readJsonFile } from './json-file.js';
import { adapterCard } from './peft-card.js';
import { type AdapterType, type ConfigOf, loraConfigFile, parseAdapterConfig } from './peft-config.js';
import { SafetensorsSource } from './safetensors.js';
import { type TensorToWrite, writeSafetensors } from './safetensors-writer.js';

export type { AdapterConfig, AdapterType } from './peft-config.js';

const configName = 'adapter_config.json';
const weightsName = 'adapter_model.safetensors';

/** An opened PEFT adapter folder. */
export interface PeftAdapter<Config = ConfigOf<'LORA'>> {
  path: string;
  config: Config;
  /** Views into the mapped file under PEFT's names, e.g. base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight. */
  tensors: Map<string, Tensor>;
  /** Releases the map; the tensors throw ERR_DISPOSED from then on. */
  close(): void;
}

export interface ReadAdapterOptions<Type extends AdapterType> {
  /** peft_type values the caller can use. Default LORA only. */
  types?: readonly Type[] | undefined;
}

/**
 * Opens a PEFT adapter folder.
 * @throws ERR_FILE, ERR_MODEL_CORRUPT (also for NaN or infinite values, naming the tensors), ERR_MODEL_UNSUPPORTED
 */
export function readAdapter<Type extends AdapterType = 'LORA'>(
  path: string,
  options: ReadAdapterOptions<Type> = {},
): PeftAdapter<ConfigOf<Type>> {
  const folder = adapterFolder(path);
  const configFile = join(folder, configName);
  if (!existsSync(configFile))
    throw new FinetuneError(
      'ERR_FILE',
      `${folder}: is no PEFT adapter folder, it has no ${configName}. Give the folder that PEFT or this package wrote.`,
      { path: folder },
    );
  const config = parseAdapterConfig(readJsonFile(configFile), configFile, options.types ?? (['LORA'] as Type[]));
  const file = weightsFile(folder);
  const weights = SafetensorsSource.openFile(file);
  try {
    const tensors = new Map(weights.names().map((name) => [name, weights.tensor(name)]));
    checkValues(tensors, file);
    return { path: folder, config, tensors, close: () => weights.close() };
  } catch (error) {
    weights.close();
    throw error;
  }
}

function adapterFolder(path: string): string {
  try {
    if (statSync(path).isDirectory()) return path;
  } catch (cause) {
    throw fileError(path, 'open this adapter', cause);
  }
  if ([configName, weightsName].includes(basename(path))) return dirname(path);
  throw new FinetuneError('ERR_FILE', `${path}: is a file, the folder of a PEFT adapter was expected.`, { path });
}

function weightsFile(folder: string): string {
  const file = join(folder, weightsName);
  if (existsSync(file)) return file;
  const pickled = join(folder, 'adapter_model.bin');
  if (existsSync(pickled))
    throw unsupportedFile(
      pickled,
      'pickled PyTorch weights can run any code when read, so they are not read',
      'Convert them in Python: load the adapter with PeftModel.from_pretrained(base, folder) and save_pretrained(other_folder).',
    );
  throw new FinetuneError('ERR_FILE', `${folder}: has no ${weightsName}. Download or export the adapter again.`, { path: folder });
}

function checkValues(tensors: Map<string, Tensor>, path: string): void {
  const context = new HostContext();
  const sum = Tensor.allocate('f64', [1], 'other', 'sum of squares');
  const bad: string[] = [];
  try {
    for (const [name, t] of tensors) {
      if (!['f64', 'f32', 'f16', 'bf16'].includes(t.dtype))
        throw unsupportedFile(path, `tensor ${shown(name)} is ${t.dtype}`, 'Adapters hold floating-point tensors.');
      if (t.numElements === 0) throw corruptFile(path, `tensor ${shown(name)} of shape [${t.shape}] is empty`);
      sum.write([0]);
      sumOfSquares(context, { x: t, out: sum });
      if (!Number.isFinite(sum.read()[0])) bad.push(name);
    }
  } finally {
    sum.dispose();
  }
  if (bad.length === 0) return;
  const named = `${bad.slice(0, 5).join(', ')}${bad.length > 5 ? ' ...' : ''}`;
  const problem = `${bad.length} of ${tensors.size} tensors hold NaN or infinite values: ${named}`;
  throw corruptFile(path, problem, 'The training that made them diverged: use an earlier checkpoint.');
}

export interface WriteAdapterOptions {
  /** Replace the adapter in an existing folder. Default false: refuse a folder that is not empty. */
  overwrite?: boolean | undefined;
  /** More text for README.md, e.g. how it was trained. Markdown. */
  notes?: string | undefined;
  /** Type in the file. Default: each tensor's own. */
  dtype?: 'f32' | 'bf16' | 'f16' | undefined;
}

/**
 * Writes a PEFT adapter folder as a whole: adapter_config.json (for LORA the given keys over PEFT's defaults), adapter_model.safetensors,
 * README.md.
 * @param config keys as PEFT names them: r, lora_alpha, target_modules ...
 * @param tensors under PEFT's names without the adapter's own name
 * @throws ERR_FILE
 */
export function writeAdapter(
  folder: string,
  config: JsonObject,
  tensors: Iterable<[string, Tensor]>,
  options: WriteAdapterOptions = {},
): void {
  const complete = (config.peft_type ?? 'LORA') === 'LORA' ? loraConfigFile(config) : config;
  const list = [...tensors].map(([name, tensor]): TensorToWrite => ({ name, tensor, dtype: options.dtype }));
  writeFolderAtomic(folder, { overwrite: options.overwrite, isStale: (file) => file === 'adapter_model.bin' }, (temporary) => {
    writeFileAtomic(join(temporary, configName), `${JSON.stringify(complete, null, 2)}\n`);
    writeSafetensors(join(temporary, weightsName), list);
    writeFileAtomic(join(temporary, 'README.md'), adapterCard(complete, options.notes));
  });
}
