import { FinetuneError } from '../native/errors.js';
import { cacheKey, defaultCacheDir, hashExamples, readCache, writeCache } from './cache.js';
import { type Detection, detectFormat, requireFormat } from './detect.js';
import { encodeSample, newCounts } from './encode-sample.js';
import { countTargets, type Example, ignoredLabel } from './example.js';
import { cutPlainText } from './plain-text.js';
import type { FormatName } from './readers/index.js';
import { readers } from './readers/index.js';
import { type DataReport, isTrained, lengthPercentiles, nameDropped, sumTokens } from './report.js';
import { type DataSource, dataPath, openRows, type RawRow, type RowSource } from './rows.js';
import type { LearnedTokens } from './segments.js';
import { splitDataset } from './split.js';
import type { Tokenizer } from './tokenizer.js';
import { dataWarnings } from './warnings.js';

export type { DataReport } from './report.js';
export type { DataSource } from './rows.js';
export { splitDataset } from './split.js';

export interface DataOptions {
  /** Format of the rows. Default: auto, by the keys of the first row. */
  format?: 'auto' | FormatName;
  /** Longest sequence in tokens; longer ones lose their end. */
  maxLength: number;
  /** Learn completions and assistant turns only, or every token; text is learned whole. Default: completion */
  trainOn?: 'completion' | 'all';
  /** Seed of the held-out rows. Default: 42 */
  seed?: number;
  /** Rows held out: a share below 1, or a number of them. Default: 0 */
  validationSplit?: number;
  /** Folder of tokenized data; false = none. Default: the cache folder of the system, or NODE_FINETUNE_CACHE. */
  cacheDir?: string | false;
  /** End plain text and completions with EOS. Default: true */
  appendEos?: boolean;
  /** Give prompt and completion to the chat template as a user and an assistant turn. Default: false, plain text (as TRL does) */
  promptsAsChat?: boolean;
}

export interface Dataset {
  /** All examples in the order of the data. */
  examples: Example[];
  /** The examples without those held out. */
  train: Example[];
  /** The examples of the held-out rows. */
  validation: Example[];
  report: DataReport;
  /** SHA-256 over all examples: equal hashes mean equal training data. */
  hash: string;
}

type Settings = Required<Pick<DataOptions, 'maxLength' | 'trainOn' | 'appendEos' | 'promptsAsChat'>> & { format: 'auto' | FormatName };

/**
 * Reads rows and makes examples of them. Files: JSON lines, a JSON array of objects or strings, each also as .gz, or plain text
 * (.txt: one continuous text, cut into sequences of `maxLength`).
 * Throws ERR_FILE (cannot be read), ERR_DATA_INVALID (malformed, mixed, empty, nothing to learn; names file and line), ERR_CONFIG_INVALID.
 */
export async function loadDataset(source: DataSource, tokenizer: Tokenizer | undefined, options: DataOptions): Promise<Dataset> {
  const settings = checkOptions(options);
  const path = dataPath(source);
  const rows = await openRows(source);
  const folder = options.cacheDir === undefined ? defaultCacheDir() : options.cacheDir;
  const key = path !== undefined && folder !== false ? await cacheKey(path, rows.container, tokenizer?.hash, settings) : undefined;

  let data = key !== undefined && folder !== false ? await readCache(folder, key) : undefined;
  if (!data) {
    data = await buildExamples(rows, tokenizer, settings);
    const failure = key !== undefined && folder !== false ? await writeCache(folder, key, data) : undefined;
    if (failure) data.report.warnings.push(`The tokenized data could not be kept for the next run: ${failure}`);
  }
  const { train, validation } = splitDataset(data.examples, options.validationSplit ?? 0, options.seed ?? 42);
  return { ...data, train, validation, hash: hashExamples(data.examples) };
}

function checkOptions(options: DataOptions): Settings {
  const { format = 'auto', maxLength, trainOn = 'completion', appendEos = true, promptsAsChat = false } = options;
  if (!Number.isInteger(maxLength) || maxLength < 2) {
    throw new FinetuneError('ERR_CONFIG_INVALID', `maxLength: wanted an integer from 2; came ${maxLength}.`);
  }
  if (format !== 'auto' && !(format in readers)) {
    throw new FinetuneError('ERR_CONFIG_INVALID', `format: wanted auto, ${Object.keys(readers).join(', ')}; came ${String(format)}.`);
  }
  if (trainOn !== 'completion' && trainOn !== 'all') {
    throw new FinetuneError('ERR_CONFIG_INVALID', `trainOn: wanted completion or all; came ${String(trainOn)}.`);
  }
  return { format, maxLength, trainOn, appendEos, promptsAsChat };
}

async function buildExamples(
  source: RowSource,
  tokenizer: Tokenizer | undefined,
  settings: Settings,
): Promise<{ examples: Example[]; report: DataReport }> {
  const counts = newCounts();
  const examples: Example[] = [];
  const dropped: DataReport['dropped'] = [];
  const lengths: number[] = [];
  let detection: Detection | undefined;
  let rows = 0;
  let doubleBos = 0;

  const add = (tokens: LearnedTokens, row: number): void => {
    const length = Math.min(tokens.ids.length, settings.maxLength);
    const inputIds = Int32Array.from(tokens.ids.slice(0, length));
    const labels = inputIds.map((id, i) => (tokens.learned[i] ? id : ignoredLabel));
    lengths.push(tokens.ids.length);
    if (countTargets(labels) > 0) examples.push({ inputIds, labels, row, truncated: tokens.ids.length > length });
    else dropped.push({ row, reason: whyNothing(tokens, settings.maxLength) });
  };

  for await (const raw of source.rows) {
    rows++;
    detection ??= detect(raw, source, settings.format);
    if (source.container === 'plain') {
      if (!tokenizer) throw new FinetuneError('ERR_CONFIG_INVALID', `${raw.where}: text needs a tokenizer.`);
      let part = 0;
      for (const tokens of cutPlainText(raw.value as string, tokenizer, settings.maxLength, settings.appendEos)) add(tokens, part++);
      rows = part;
      continue;
    }
    const samples = readers[detection.format].read(requireFormat(raw, detection.format, settings.format !== 'auto'), raw.where);
    const before = lengths.length;
    for (const sample of samples) {
      for (const tokens of locate(raw, () => encodeSample(sample, tokenizer, settings, counts))) {
        if (beginsWithTwoBos(tokens.ids, tokenizer)) {
          if (sample.kind !== 'tokens') throw twoBos(raw, tokenizer);
          doubleBos++;
        }
        add(tokens, raw.row);
      }
    }
    if (lengths.length === before) dropped.push({ row: raw.row, reason: 'no turn of the assistant to learn' });
  }
  if (!detection) throw new FinetuneError('ERR_DATA_INVALID', `${source.name} has no rows: there is nothing to learn from.`);
  if (examples.length === 0) {
    throw new FinetuneError(
      'ERR_DATA_INVALID',
      `${source.name}: no row has anything to learn at maxLength ${settings.maxLength}: ${nameDropped(dropped)}.`,
      { dropped: dropped.slice(0, 5) },
    );
  }
  const report: DataReport = {
    ...detection,
    rows,
    examples: examples.length,
    ...sumTokens(examples),
    truncated: examples.filter((example) => example.truncated).length,
    dropped,
    lengthPercentiles: lengthPercentiles(lengths),
    eosTrained: isTrained(examples, tokenizer?.eosTokenId),
    warnings: [],
  };
  report.warnings = dataWarnings(report, counts, doubleBos, tokenizer, settings.maxLength);
  return { examples, report };
}

function detect(first: RawRow, source: RowSource, format: 'auto' | FormatName): Detection {
  if (source.container === 'plain') {
    if (format !== 'auto' && format !== 'text') {
      throw new FinetuneError('ERR_CONFIG_INVALID', `${source.name} is plain text, but the format is given as ${format}.`);
    }
    return { format: 'text', reason: 'a plain text file: one continuous text, cut into sequences of maxLength tokens' };
  }
  return format === 'auto' ? detectFormat(first) : { format, reason: 'as given' };
}

/** Puts file and line in front of errors that do not know them. */
function locate<T>({ where, row }: RawRow, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof FinetuneError) || error.code !== 'ERR_DATA_INVALID') throw error;
    throw new FinetuneError(error.code, `${where}: ${error.message}`, { ...error.details, where, row }, error);
  }
}

function whyNothing(tokens: LearnedTokens, maxLength: number): string {
  const first = tokens.learned.indexOf(1, 1);
  if (first < 0) return tokens.learned[0] ? 'the first token alone is learned, and nothing precedes it' : 'no token is learned';
  return `learned tokens begin at ${first}, beyond maxLength ${maxLength}`;
}

function beginsWithTwoBos(ids: readonly number[], tokenizer: Tokenizer | undefined): boolean {
  return tokenizer?.bosTokenId !== undefined && ids[0] === tokenizer.bosTokenId && ids[1] === tokenizer.bosTokenId;
}

function twoBos({ where }: RawRow, tokenizer: Tokenizer | undefined): FinetuneError {
  const token = tokenizer?.tokenOf(tokenizer.bosTokenId ?? -1);
  return new FinetuneError(
    'ERR_DATA_INVALID',
    `${where}: the tokens begin with ${token} twice. Take it out of the text or out of the chat template: it is added only once.`,
    { where },
  );
}
