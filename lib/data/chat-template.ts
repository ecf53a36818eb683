import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { FinetuneError } from '../native/errors.js';

/** One turn of a conversation; further keys (`tool_calls`, `name`, `reasoning_content` ...) pass through to the template. */
export interface ChatMessage {
  role: string;
  content: string;
  [extra: string]: unknown;
}

export interface ChatTemplateOptions {
  /** End with what comes before an answer, e.g. `<|im_start|>assistant\n`. Default: false */
  addGenerationPrompt?: boolean;
  /** JSON schemas of the functions that may be called. */
  tools?: unknown;
  /** Further variables of the template, e.g. `{ enable_thinking: false }`. */
  variables?: Record<string, unknown>;
}

/**
 * The day that `strftime_now` gives in templates: the one that Llama 3's templates fall back to. Fixed, because text that
 * changes with the day would make a resumed run learn from other tokens than the interrupted one.
 */
export const templateDate = new Date(2024, 6, 26);

/** What every template may use: constants in both spellings, and the functions of Jinja and transformers. */
const globals: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range: (first: number, second?: number, step = 1): number[] => {
    const [start, stop] = second === undefined ? [0, first] : [first, second];
    return Array.from({ length: Math.max(0, Math.ceil((stop - start) / step)) }, (_, i) => start + i * step);
  },
  raise_exception: (message: string): never => {
    throw new Error(message);
  },
  strftime_now: (format: string): string => formatDate(templateDate, format),
};

/** A Jinja chat template with the variables that Hugging Face gives it. Source: transformers, "Chat templates". */
export class ChatTemplate {
  readonly source: string;
  private readonly specialTokens: Readonly<Record<string, string>>;
  private program: ReturnType<typeof parse> | undefined;

  constructor(source: string, specialTokens: Record<string, string>) {
    this.source = source;
    this.specialTokens = specialTokens;
  }

  /** Whether the text depends on the day (which is fixed, see `templateDate`). */
  get usesDate(): boolean {
    return this.source.includes('strftime_now');
  }

  /** Throws ERR_MODEL_UNSUPPORTED if the template cannot be parsed, ERR_DATA_INVALID if it refuses the messages. */
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    const program = this.compile();
    try {
      const variables: Record<string, unknown> = {
        ...globals,
        ...this.specialTokens,
        ...options.variables,
        messages,
        tools: options.tools ?? null,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt ?? false,
      };
      // Not the library's Template.render: it takes the day from the clock and lets nothing replace that.
      const environment = new Environment();
      for (const name in variables) environment.set(name, variables[name]);
      return String(new Interpreter(environment).run(program).value);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new FinetuneError(
        'ERR_DATA_INVALID',
        `The chat template refused the messages (roles: ${messages.map((m) => m.role).join(', ') || 'none'}): ${reason}`,
        { reason },
        error,
      );
    }
  }

  private compile(): ReturnType<typeof parse> {
    if (this.program) return this.program;
    try {
      this.program = parse(tokenize(this.source, { lstrip_blocks: true, trim_blocks: true }));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new FinetuneError(
        'ERR_MODEL_UNSUPPORTED',
        `The chat template of the tokenizer cannot be parsed: ${reason}. Replace it: chat_template in tokenizer_config.json.`,
        {},
        error,
      );
    }
    return this.program;
  }
}

/** The parts of Python's strftime that templates use, always in English. */
function formatDate(date: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const name = (options: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat('en-US', options).format(date);
  const parts: Record<string, () => string> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    e: () => String(date.getDate()).padStart(2, ' '),
    b: () => name({ month: 'short' }),
    B: () => name({ month: 'long' }),
    a: () => name({ weekday: 'short' }),
    A: () => name({ weekday: 'long' }),
    H: () => two(date.getHours()),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    '%': () => '%',
  };
  return format.replace(/%([a-zA-Z%])/g, (whole, letter: string) => parts[letter]?.() ?? whole);
}
