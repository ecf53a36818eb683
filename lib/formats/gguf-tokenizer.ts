import { corruptFile, shown, unsupportedFile } from './file-error.js';
import type { GgufMetadata } from './gguf-metadata.js';
import { preTokenizations } from './gguf-pre-tokenizers.js';
import type { JsonObject } from './json-file.js';
import type { TokenizerFiles } from './model-source.js';
import { sentencePieceMerges } from './sentencepiece-merges.js';

const tokenTypes = { unknown: 2, control: 3, userDefined: 4, byte: 6 };

/** What every kind of GGUF vocabulary has. */
interface Vocabulary {
  tokens: string[];
  types: number[];
  special: Partial<Record<'bos' | 'eos' | 'unk' | 'pad', string>>;
}

/** The parts of tokenizer.json in which byte-level BPE and SentencePiece differ. */
interface Pipeline {
  normalizer: JsonObject | null;
  preTokenizer: JsonObject | null;
  decoder: JsonObject;
  model: JsonObject;
  addBos: boolean;
}

/**
 * tokenizer.json and tokenizer_config.json that give the ids of a GGUF file's vocabulary: byte-level BPE (`gpt2`) and
 * SentencePiece (`llama`, as BPE with merges made from the scores). undefined when the file has none.
 * @throws ERR_MODEL_CORRUPT, ERR_MODEL_UNSUPPORTED naming the file and the kind of vocabulary
 */
export function tokenizerOf(metadata: GgufMetadata, path: string): TokenizerFiles | undefined {
  const kind = metadata.string('tokenizer.ggml.model');
  if (kind === undefined || kind === 'none') return undefined;
  const vocabulary = readVocabulary(metadata, path);
  let pipeline: Pipeline;
  if (kind === 'gpt2') pipeline = byteLevelBpe(metadata, vocabulary, path);
  else if (kind === 'llama') pipeline = sentencePiece(metadata, vocabulary, path);
  else
    throw unsupportedFile(
      path,
      `its tokenizer is of the kind ${shown(kind)}`,
      'Supported are gpt2 and llama; or put the tokenizer.json of the model beside the file.',
    );
  const addBos = metadata.boolean('tokenizer.ggml.add_bos_token') ?? pipeline.addBos;
  const addEos = metadata.boolean('tokenizer.ggml.add_eos_token') ?? false;
  const tokenizerJson: JsonObject = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: pipeline.normalizer,
    pre_tokenizer: pipeline.preTokenizer,
    post_processor: postProcessor(vocabulary, addBos ? vocabulary.special.bos : undefined, addEos ? vocabulary.special.eos : undefined),
    decoder: pipeline.decoder,
    model: pipeline.model,
  };
  return { tokenizerJson, tokenizerConfig: tokenizerConfig(metadata, vocabulary, addBos, addEos) };
}

function readVocabulary(metadata: GgufMetadata, path: string): Vocabulary {
  const tokens = metadata.required('tokenizer.ggml.tokens', metadata.strings('tokenizer.ggml.tokens'));
  const types = metadata.numbers('tokenizer.ggml.token_type') ?? tokens.map(() => 1);
  if (types.length !== tokens.length)
    throw corruptFile(path, `tokenizer.ggml.token_type has ${types.length} entries for ${tokens.length} tokens`);
  const special: Vocabulary['special'] = {};
  const keys = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' } as const;
  for (const [name, key] of Object.entries(keys) as [keyof typeof keys, string][]) {
    const id = metadata.integer(`tokenizer.ggml.${key}_token_id`);
    if (id === undefined) continue;
    const token = tokens[id];
    if (token === undefined) throw corruptFile(path, `tokenizer.ggml.${key}_token_id is ${id}, the vocabulary has ${tokens.length} tokens`);
    special[name] = token;
  }
  return { tokens, types, special };
}

function byteLevelBpe(metadata: GgufMetadata, vocabulary: Vocabulary, path: string): Pipeline {
  const pre = metadata.string('tokenizer.ggml.pre') ?? 'default';
  const rule = Object.hasOwn(preTokenizations, pre) ? preTokenizations[pre] : undefined;
  if (!rule)
    throw unsupportedFile(
      path,
      `its pre-tokenizer is ${shown(pre)}`,
      `Supported are ${Object.keys(preTokenizations).join(', ')}; or put the tokenizer.json of the model beside the file.`,
    );
  const merges = metadata.required('tokenizer.ggml.merges', metadata.strings('tokenizer.ggml.merges')).map((merge) => {
    const space = merge.indexOf(' ', 1);
    if (space < 0 || space === merge.length - 1)
      throw corruptFile(path, `tokenizer.ggml.merges has ${shown(merge)}, two tokens with a space between were expected`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  return {
    normalizer: rule.normalizer,
    preTokenizer: rule.preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe(vocabulary.tokens, merges, { unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: rule.ignoreMerges }),
    addBos: rule.addBos,
  };
}

function sentencePiece(metadata: GgufMetadata, vocabulary: Vocabulary, path: string): Pipeline {
  const { tokens, types } = vocabulary;
  const scores = metadata.required('tokenizer.ggml.scores', metadata.numbers('tokenizer.ggml.scores'));
  if (scores.length !== tokens.length)
    throw corruptFile(path, `tokenizer.ggml.scores has ${scores.length} entries for ${tokens.length} tokens`);
  const addPrefix = metadata.boolean('tokenizer.ggml.add_space_prefix') ?? true;
  const neverMerged: number[] = [tokenTypes.unknown, tokenTypes.control, tokenTypes.byte];
  const merges = sentencePieceMerges(tokens, scores, (id) => neverMerged.includes(types[id] as number));
  const spaceToMark = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const decoders: JsonObject[] = [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }];
  if (addPrefix) decoders.push({ type: 'Strip', content: ' ', start: 1, stop: 0 });
  const unknown = vocabulary.special.unk ?? tokens[types.indexOf(tokenTypes.unknown)] ?? null;
  return {
    normalizer: addPrefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, spaceToMark] } : spaceToMark,
    preTokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model: bpe(tokens, merges, {
      unk_token: unknown,
      fuse_unk: true,
      byte_fallback: types.includes(tokenTypes.byte),
      ignore_merges: false,
    }),
    addBos: true,
  };
}

// Object.fromEntries, because a token may be called __proto__.
function bpe(tokens: string[], merges: string[][], options: JsonObject): JsonObject {
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  return { type: 'BPE', dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null, ...options, vocab, merges };
}

// Control tokens and the unknown token are special: decoding may skip them. User-defined ones are text that is never cut.
function addedTokens({ tokens, types }: Vocabulary): JsonObject[] {
  const added: JsonObject[] = [];
  for (const [id, content] of tokens.entries()) {
    const special = types[id] === tokenTypes.control || types[id] === tokenTypes.unknown;
    if (content === '' || (!special && types[id] !== tokenTypes.userDefined)) continue;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  return added;
}

function postProcessor({ tokens }: Vocabulary, bos: string | undefined, eos: string | undefined): JsonObject | null {
  if (bos === undefined && eos === undefined) return null;
  const around = (sequence: 'A' | 'B', typeId: number): JsonObject[] => [
    ...(bos === undefined ? [] : [{ SpecialToken: { id: bos, type_id: typeId } }]),
    { Sequence: { id: sequence, type_id: typeId } },
    ...(eos === undefined ? [] : [{ SpecialToken: { id: eos, type_id: typeId } }]),
  ];
  const used = [bos, eos].filter((token) => token !== undefined);
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(used.map((token) => [token, { id: token, ids: [tokens.lastIndexOf(token)], tokens: [token] }])),
  };
}

function tokenizerConfig(metadata: GgufMetadata, { special }: Vocabulary, addBos: boolean, addEos: boolean): JsonObject {
  const template = metadata.string('tokenizer.chat_template');
  const architecture = metadata.string('general.architecture');
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: special.bos ?? null,
    eos_token: special.eos ?? null,
    pad_token: special.pad ?? null,
    unk_token: special.unk ?? null,
    add_bos_token: addBos,
    add_eos_token: addEos,
    clean_up_tokenization_spaces: false,
    model_max_length: metadata.integer(`${architecture}.context_length`) ?? null,
    ...(template !== undefined && { chat_template: template }),
  };
}
