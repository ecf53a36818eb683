import { createHash } from 'node:crypto';
import { Tokenizer as Model } from '@huggingface/tokenizers';
import { FinetuneError } from '../native/errors.js';
import { type ChatMessage, ChatTemplate, type ChatTemplateOptions } from './chat-template.js';

export type { ChatMessage, ChatTemplateOptions } from './chat-template.js';
export { StreamingDecoder } from './streaming-decoder.js';

/** No vocabulary comes near; a larger id in a file means that the file is broken or hostile. */
const maxTokenId = 2 ** 24;

type Json = Record<string, unknown>;

/**
 * Text to token ids and back, as `tokenizer.json` and `tokenizer_config.json` of a Hugging Face folder say.
 * Ids equal those of the Rust library. `add_bos_token` and `add_eos_token` of the config win over the post-processor.
 */
export class Tokenizer {
  /** One more than the largest token id. A model may have more rows than that (padding), never fewer. */
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  /** Whether `encode` with `addSpecialTokens` puts the BOS token in front. */
  readonly addsBos: boolean;
  /** Whether `encode` with `addSpecialTokens` puts the EOS token at the end. */
  readonly addsEos: boolean;
  /** SHA-256 over tokenizer, configuration and template. */
  readonly hash: string;

  private readonly model: Model;
  private readonly specialIds: ReadonlySet<number>;
  private readonly templates: ReadonlyMap<string, ChatTemplate>;

  private constructor(model: Model, vocabSize: number, tokenizerJson: Json, config: Json) {
    this.model = model;
    this.vocabSize = vocabSize;
    this.hash = createHash('sha256').update(JSON.stringify(tokenizerJson)).update('\0').update(JSON.stringify(config)).digest('hex');

    const specialTokens = readSpecialTokens(config);
    this.bosTokenId = this.requireId(specialTokens, 'bos_token');
    this.eosTokenId = this.requireId(specialTokens, 'eos_token');
    this.padTokenId = specialTokens.pad_token === undefined ? undefined : model.token_to_id(specialTokens.pad_token);
    const specialIds = [...model.get_added_tokens_decoder().values()].filter((t) => t.special).map((t) => t.id);
    this.specialIds = new Set([...specialIds, this.bosTokenId, this.eosTokenId].filter((id) => id !== undefined));

    const plain = model.encode('a', { add_special_tokens: false }).ids;
    const full = model.encode('a', { add_special_tokens: true }).ids;
    const grew = full.length > plain.length;
    this.addsBos = this.bosTokenId !== undefined && (asBoolean(config.add_bos_token) ?? (grew && full[0] === this.bosTokenId));
    this.addsEos = this.eosTokenId !== undefined && (asBoolean(config.add_eos_token) ?? (grew && full.at(-1) === this.eosTokenId));
    this.templates = readTemplates(config, specialTokens);
  }

  /** Throws ERR_MODEL_CORRUPT where the files contradict themselves. */
  static fromJson(tokenizerJson: Json, tokenizerConfig: Json): Tokenizer {
    const complete = completeTokenizer(tokenizerJson, tokenizerConfig);
    const vocabSize = largestId(complete) + 1;
    try {
      return new Tokenizer(new Model(complete, tokenizerConfig), vocabSize, tokenizerJson, tokenizerConfig);
    } catch (error) {
      if (error instanceof FinetuneError) throw error;
      throw corrupt(`tokenizer.json cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  }

  /** The default chat template, or undefined. */
  get chatTemplate(): string | undefined {
    return this.templates.get('default')?.source;
  }

  /** Whether the chat template prints the date, which is then a fixed one (`templateDate`). */
  get templateUsesDate(): boolean {
    return this.templates.get('default')?.usesDate ?? false;
  }

  /** Whether the chat template shows the tools it is given. */
  get showsTools(): boolean {
    return this.templates.has('tool_use') || /\btools\b/.test(this.chatTemplate ?? '');
  }

  /** Whether the id is a control token such as BOS or `<|im_end|>`, which `skipSpecialTokens` leaves out. */
  isSpecial(id: number): boolean {
    return this.specialIds.has(id);
  }

  /** The token as the vocabulary spells it, or undefined. */
  tokenOf(id: number): string | undefined {
    return this.model.id_to_token(id);
  }

  /** Token ids of a text. Special tokens written in the text become themselves. BOS and EOS only with `addSpecialTokens`. */
  encode(text: string, options: { addSpecialTokens?: boolean } = {}): number[] {
    const ids = text === '' ? [] : this.model.encode(text, { add_special_tokens: false }).ids;
    for (const id of ids) {
      if (typeof id !== 'number') {
        throw new FinetuneError('ERR_DATA_INVALID', 'The text has a character that the vocabulary cannot express.', {
          text: text.slice(0, 80),
        });
      }
    }
    if (options.addSpecialTokens) {
      if (this.addsBos && this.bosTokenId !== undefined && ids[0] !== this.bosTokenId) ids.unshift(this.bosTokenId);
      if (this.addsEos && this.eosTokenId !== undefined && ids.at(-1) !== this.eosTokenId) ids.push(this.eosTokenId);
    }
    return ids;
  }

  /** Text of token ids, with its spaces as they are (no clean-up); ids outside the vocabulary give nothing. */
  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const skip = options.skipSpecialTokens ?? false;
    const known = Array.from(ids).filter((id) => this.model.id_to_token(id) !== undefined && !(skip && this.specialIds.has(id)));
    if (known.length === 0) return '';
    return this.model.decode(known, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }

  /** Text of a conversation. Throws ERR_CONFIG_INVALID where the model has no chat template. */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    const template = (options.tools ? this.templates.get('tool_use') : undefined) ?? this.templates.get('default');
    if (!template) {
      throw new FinetuneError(
        'ERR_CONFIG_INVALID',
        'The model has no chat template, so messages cannot become text. Use an instruction-tuned model, put a chat_template into ' +
          'tokenizer_config.json, or give plain text or prompt/completion rows.',
      );
    }
    return template.render(messages, options);
  }

  private requireId(specialTokens: Record<string, string>, name: string): number | undefined {
    const token = specialTokens[name];
    if (token === undefined) return undefined;
    const id = this.model.token_to_id(token);
    if (id === undefined)
      throw corrupt(`tokenizer_config.json names ${JSON.stringify(token)} as ${name}, which tokenizer.json does not hold.`);
    return id;
  }
}

function corrupt(message: string, cause?: unknown): FinetuneError {
  return new FinetuneError('ERR_MODEL_CORRUPT', message, {}, cause);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asBoolean(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined;
}

/** Fills in absent stages, and adds the tokens that only the config's `added_tokens_decoder` knows. */
function completeTokenizer(tokenizerJson: Json, config: Json): Json {
  if (!isObject(tokenizerJson)) throw corrupt('tokenizer.json must hold a JSON object.');
  if (!isObject(config)) throw corrupt('tokenizer_config.json must hold a JSON object.');
  if (!isObject(tokenizerJson.model)) throw corrupt('tokenizer.json has no "model".');
  const added: unknown = tokenizerJson.added_tokens ?? [];
  if (!Array.isArray(added) || !added.every((t) => isObject(t) && typeof t.content === 'string')) {
    throw corrupt('added_tokens of tokenizer.json must be a list of tokens with an id and a content.');
  }
  const tokens = added as Json[];
  const ids = new Set(tokens.map((t) => t.id));
  const contents = new Set(tokens.map((t) => t.content));
  const late = isObject(config.added_tokens_decoder) ? Object.entries(config.added_tokens_decoder) : [];
  const missing = late.flatMap(([id, token]) =>
    isObject(token) && typeof token.content === 'string' && !ids.has(Number(id)) && !contents.has(token.content)
      ? [{ ...token, id: Number(id) }]
      : [],
  );
  return {
    normalizer: null,
    post_processor: null,
    decoder: null,
    ...tokenizerJson,
    pre_tokenizer: tokenizerJson.pre_tokenizer ?? splitAtSpaces(tokenizerJson),
    added_tokens: [...tokens, ...missing],
  };
}

/**
 * SentencePiece's BPE merges a whole text at once, which takes ten times as long as word by word. Where no token of the vocabulary goes on after
 * a word with a space (written as U+2581), no merge crosses from one word into the next, and cutting there changes no id.
 */
function splitAtSpaces({ model, normalizer }: Json): Json | null {
  const { type, vocab } = model as Json;
  if ((type !== undefined && type !== 'BPE') || !isObject(vocab) || !JSON.stringify(normalizer ?? null).includes('\u2581')) return null;
  for (const token in vocab) if (/[^\u2581]\u2581/.test(token)) return null;
  return { type: 'Split', pattern: { Regex: '\u2581*[^\u2581]+|\u2581+' }, behavior: 'Isolated', invert: true };
}

function largestId(tokenizerJson: Json): number {
  const { vocab } = tokenizerJson.model as Json;
  let largest = -1;
  const see = (id: unknown, token: unknown): void => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= maxTokenId) {
      throw corrupt(`tokenizer.json gives ${JSON.stringify(token)} the id ${String(id)}; wanted an integer from 0 to ${maxTokenId - 1}.`);
    }
    if (id > largest) largest = id;
  };
  if (Array.isArray(vocab)) largest = vocab.length - 1;
  else if (isObject(vocab)) for (const token in vocab) see(vocab[token], token);
  else throw corrupt('model.vocab of tokenizer.json must be an object (or a list, for Unigram).');
  for (const token of tokenizerJson.added_tokens as Json[]) see(token.id, token.content);
  if (largest < 0) throw corrupt('The vocabulary of tokenizer.json is empty.');
  return largest;
}

/** `bos_token` and so on, each a string or an object with a `content`. */
function readSpecialTokens(config: Json): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    if (!key.endsWith('_token')) continue;
    const content = isObject(value) ? value.content : value;
    if (typeof content === 'string') tokens[key] = content;
  }
  return tokens;
}

/** `chat_template` is one template or a list of named ones; a list without `default` lends its first. */
function readTemplates(config: Json, specialTokens: Record<string, string>): Map<string, ChatTemplate> {
  const templates = new Map<string, ChatTemplate>();
  const value = config.chat_template;
  if (value === undefined || value === null) return templates;
  const list: unknown[] = typeof value === 'string' ? [{ name: 'default', template: value }] : Array.isArray(value) ? value : [undefined];
  for (const item of list) {
    if (!isObject(item) || typeof item.name !== 'string' || typeof item.template !== 'string') {
      throw corrupt('chat_template of tokenizer_config.json must be a string or a list of { name, template }.');
    }
    templates.set(item.name, new ChatTemplate(item.template, specialTokens));
  }
  const [first] = templates.values();
  if (first && !templates.has('default')) templates.set('default', first);
  return templates;
}
