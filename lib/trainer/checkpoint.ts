import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { TrainConfig } from '../config/defaults.js';
import type { Tensor } from '../core/tensor.js';
import { writeFileAtomic, writeFolderAtomic } from '../formats/atomic-file.js';
import { readJsonFile } from '../formats/json-file.js';
import type { ModelSource } from '../formats/model-source.js';
import { SafetensorsSource } from '../formats/safetensors.js';
import { writeSafetensors } from '../formats/safetensors-writer.js';
import type { WeightSource } from '../formats/weights.js';
import { FinetuneError } from '../native/errors.js';
import { differences, fingerprint } from './fingerprint.js';
import { savedName, saveResult } from './save-result.js';
import type { Session } from './session.js';

const stateFile = 'trainer_state.json';
const optimizerFile = 'optimizer.safetensors';
const formatVersion = 1;

/** Where a run stands; everything random follows from the seed and the step. */
export interface RunState {
  step: number;
  loss: number;
  tokens: number;
  bestLoss?: number;
  bestStep?: number;
  evaluationsWithoutBest: number;
  /** Step of the last evaluation. */
  evaluatedStep?: number;
  /** Step of the last checkpoint; not stored. */
  savedStep?: number;
}

/**
 * Checkpoints of a run, `checkpoint-<step>` folders: the adapter or model as the result would be written, the optimizer's state
 * and trainer_state.json. Each appears whole, by a rename; a process killed at any moment leaves the finished ones.
 */
export class Checkpoints {
  private readonly config: TrainConfig;
  private readonly dir: string;
  private newest: string | undefined;
  private fingerprint: Record<string, unknown> = {};

  constructor(config: TrainConfig) {
    this.config = config;
    this.dir = config.checkpoint.dir ?? join(config.out, 'checkpoints');
  }

  /** Folder written last in this run. */
  get latest(): string | undefined {
    return this.newest;
  }

  /** Puts the session where the run begins: as it is, or at a checkpoint. */
  start(session: Session, dataHash: string): RunState {
    const { resume, overwrite } = this.config;
    this.fingerprint = fingerprint(this.config, session, dataHash);
    this.removeUnfinished();
    if (resume !== undefined) return this.load(resume === true ? this.findNewest() : resume, session);
    if (overwrite) for (const name of this.list()) this.remove(name);
    return { step: 0, loss: Number.NaN, tokens: 0, evaluationsWithoutBest: 0 };
  }

  /** Writes a checkpoint and drops old ones. */
  save(session: Session, source: ModelSource, state: RunState, best: boolean): string {
    const folder = join(this.dir, `checkpoint-${state.step}`);
    const { savedStep: _savedStep, ...stored } = state;
    writeFolderAtomic(folder, { overwrite: true }, (temporary) => {
      saveResult(session, source, this.config, temporary, { overwrite: true });
      if (session.state.named.length > 0) writeSafetensors(join(temporary, optimizerFile), session.state.named);
      const text = JSON.stringify({ version: formatVersion, state: stored, best, run: this.fingerprint }, null, 2);
      writeFileAtomic(join(temporary, stateFile), `${text}\n`);
    });
    this.newest = folder;
    this.prune(state.bestStep);
    return folder;
  }

  /** Loads the weights of the best evaluation. */
  loadBest(session: Session, state: RunState): void {
    const folder = join(this.dir, `checkpoint-${state.bestStep}`);
    loadTensors(
      folder,
      weightsFile(folder),
      session.adapterTensors.map((p) => ({ name: savedName(this.config, p), tensor: p.value })),
    );
  }

  private load(folder: string, session: Session): RunState {
    const path = join(folder, stateFile);
    if (!existsSync(path))
      throw new FinetuneError(
        'ERR_CHECKPOINT_MISMATCH',
        `${folder}: is no checkpoint, ${stateFile} is missing. Give a checkpoint-<step> folder of a run`,
        {
          path: folder,
        },
      );
    const stored = readJsonFile(path) as { version?: number; state?: RunState; run?: Record<string, unknown> };
    if (stored.version !== formatVersion || !stored.state || !stored.run || !Number.isSafeInteger(stored.state.step))
      throw new FinetuneError('ERR_CHECKPOINT_MISMATCH', `${path}: is not of version ${formatVersion} of this format, or damaged`, {
        path,
      });
    const found = differences(stored.run, this.fingerprint);
    if (found.length > 0)
      throw new FinetuneError(
        'ERR_CHECKPOINT_MISMATCH',
        `${folder} belongs to another run: ${found.join('; ')}. Resume with the settings and data it was made with`,
        { path: folder, differences: found },
      );
    loadTensors(
      folder,
      weightsFile(folder),
      session.adapterTensors.map((p) => ({ name: savedName(this.config, p), tensor: p.value })),
    );
    session.seek(stored.state.step);
    if (session.state.named.length > 0) loadTensors(folder, optimizerFile, session.state.named);
    this.newest = folder;
    return { ...stored.state, savedStep: stored.state.step };
  }

  private findNewest(): string {
    const name = this.list().at(-1);
    if (name === undefined)
      throw new FinetuneError(
        'ERR_FILE',
        `${this.dir}: there is no checkpoint to resume from. Start without resume, or name a checkpoint folder`,
        {
          path: this.dir,
        },
      );
    return join(this.dir, name);
  }

  // What a killed process left half-written.
  private removeUnfinished(): void {
    if (!existsSync(this.dir)) return;
    for (const name of readdirSync(this.dir))
      if (/^\.+checkpoint-\d+\..*\.tmp$/.test(name)) rmSync(join(this.dir, name), { recursive: true, force: true });
  }

  /** Checkpoint folders from the oldest step to the newest. */
  private list(): string[] {
    if (!statSync(this.dir, { throwIfNoEntry: false })?.isDirectory()) return [];
    const step = (name: string) => Number(name.slice('checkpoint-'.length));
    return readdirSync(this.dir)
      .filter((name) => /^checkpoint-\d+$/.test(name))
      .sort((a, b) => step(a) - step(b));
  }

  private prune(bestStep: number | undefined): void {
    const keepBest = this.config.evaluation.keepBest ? `checkpoint-${bestStep}` : undefined;
    const old = this.list()
      .filter((name) => name !== keepBest)
      .slice(0, -this.config.checkpoint.keep);
    for (const name of old) if (join(this.dir, name) !== this.newest) this.remove(name);
  }

  // Renamed first: a process killed meanwhile leaves no half-deleted folder that looks like a checkpoint.
  private remove(name: string): void {
    const doomed = join(this.dir, `.${name}.deleted.tmp`);
    renameSync(join(this.dir, name), doomed);
    rmSync(doomed, { recursive: true, force: true });
  }
}

function weightsFile(folder: string): string {
  return existsSync(join(folder, 'adapter_model.safetensors')) ? 'adapter_model.safetensors' : 'model.safetensors';
}

/** Fills tensors with those of the same name, bit for bit. @throws ERR_CHECKPOINT_MISMATCH listing what is missing or differs */
function loadTensors(folder: string, file: string, wanted: readonly { name: string; tensor: Tensor }[]): void {
  const path = join(folder, file);
  const source: WeightSource = SafetensorsSource.openFile(path);
  try {
    const wrong = wanted.flatMap(({ name, tensor }) => {
      if (!source.has(name)) return [`${name} is missing`];
      const { dtype, shape } = source.info(name);
      const same = dtype === tensor.dtype && shape.length === tensor.shape.length && shape.every((n, i) => n === tensor.shape[i]);
      return same ? [] : [`${name} is ${dtype} [${shape}], wanted ${tensor.dtype} [${tensor.shape}]`];
    });
    if (wrong.length > 0)
      throw new FinetuneError(
        'ERR_CHECKPOINT_MISMATCH',
        `${path}: ${wrong.slice(0, 5).join('; ')}${wrong.length > 5 ? ` and ${wrong.length - 5} more` : ''}. Resume with the settings and the model it was made with`,
        {
          path,
          wrong,
        },
      );
    for (const { name, tensor } of wanted) copyBytes(source.tensor(name), tensor);
  } finally {
    source.close();
  }
}

/** In pieces, so that no copy of a whole tensor lies on JavaScript's heap. */
function copyBytes(from: Tensor, to: Tensor): void {
  const piece = 2 ** 22;
  for (let at = 0; at < to.bytes; at += piece) to.writeBytes(from.readBytes(at, Math.min(piece, to.bytes - at)), at);
}
