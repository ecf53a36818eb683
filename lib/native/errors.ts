/** Stable error codes. The exit code of the command line is in brackets. */
export const errorCodes = {
  /** A configuration value, flag or YAML key is wrong. */
  ERR_CONFIG_INVALID: 2,
  /** A data file or row is malformed, empty, or has no token to learn from. */
  ERR_DATA_INVALID: 2,
  /** A file is missing, unreadable, unwritable, or already there. */
  ERR_FILE: 2,
  /** The architecture, storage type or combination is not supported. */
  ERR_MODEL_UNSUPPORTED: 2,
  /** A model, adapter or tokenizer file is truncated, hostile or contradicts itself. */
  ERR_MODEL_CORRUPT: 2,
  /** The adapter does not fit the model. */
  ERR_ADAPTER_MISMATCH: 2,
  /** The checkpoint belongs to another run. */
  ERR_CHECKPOINT_MISMATCH: 2,
  /** The native addon could not be loaded. */
  ERR_NATIVE_LOAD: 3,
  /** The device does not exist here, or lacks a kernel. */
  ERR_DEVICE_UNAVAILABLE: 3,
  /** The plan does not fit, or the system has no memory left. */
  ERR_OUT_OF_MEMORY: 4,
  /** The loss, or the norm of the gradients, became NaN or infinite. */
  ERR_NONFINITE_LOSS: 1,
  /** An op got a tensor of a wrong shape. */
  ERR_SHAPE: 1,
  /** An op got a tensor of a wrong type. */
  ERR_DTYPE: 1,
  /** Used after dispose() or free(). */
  ERR_DISPOSED: 1,
  /** A rule of the engine was broken: a defect of this package. */
  ERR_INTERNAL: 1,
} as const;

export type ErrorCode = keyof typeof errorCodes;

/**
 * The one error class of the package: check `code`, show `message`.
 * The message says where, what was wanted, what came and what to do; `details` holds the same as plain data.
 */
export class FinetuneError extends Error {
  override readonly name = 'FinetuneError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  /** Exit code of the command line for this error. */
  get exitCode(): number {
    return errorCodes[this.code];
  }

  toJSON(): { name: string; code: ErrorCode; message: string; details: Record<string, unknown> } {
    return { name: this.name, code: this.code, message: this.message, details: { ...this.details } };
  }
}

/** Turns an error thrown by the addon into a FinetuneError; passes others through. */
export function translateNativeError(error: unknown): unknown {
  if (error instanceof FinetuneError || !(error instanceof Error)) return error;
  const code = (error as Error & { code?: unknown }).code;
  if (typeof code === 'string' && code in errorCodes) return new FinetuneError(code as ErrorCode, error.message, {}, error);
  return error;
}
