import { FinetuneError } from '../native/errors.js';

/** config.json with checked access: every wrong or missing value is an error that names the key. */
export class RawConfig {
  readonly values: Readonly<Record<string, unknown>>;
  readonly where: string;

  constructor(values: Readonly<Record<string, unknown>>, where = 'config.json') {
    this.values = values;
    this.where = where;
  }

  has(key: string): boolean {
    return this.values[key] !== undefined && this.values[key] !== null;
  }

  /** A positive integer. */
  int(key: string, fallback?: number): number {
    return this.checked(key, fallback, 'a positive integer', (v): v is number => Number.isSafeInteger(v) && (v as number) > 0);
  }

  /** A finite number. */
  number(key: string, fallback?: number): number {
    return this.checked(key, fallback, 'a number', (v): v is number => typeof v === 'number' && Number.isFinite(v));
  }

  bool(key: string, fallback?: boolean): boolean {
    return this.checked(key, fallback, 'true or false', (v): v is boolean => typeof v === 'boolean');
  }

  string(key: string, fallback?: string): string {
    return this.checked(key, fallback, 'a string', (v): v is string => typeof v === 'string');
  }

  /** A nested object; undefined when absent or null. */
  object(key: string): RawConfig | undefined {
    if (!this.has(key)) return undefined;
    const value = this.checked(
      key,
      undefined,
      'an object',
      (v): v is Record<string, unknown> => typeof v === 'object' && !Array.isArray(v),
    );
    return new RawConfig(value, `${this.where}: ${key}`);
  }

  strings(key: string): string[] | undefined {
    if (!this.has(key)) return undefined;
    return this.checked(
      key,
      undefined,
      'a list of strings',
      (v): v is string[] => Array.isArray(v) && v.every((x) => typeof x === 'string'),
    );
  }

  fail(key: string, wanted: string): never {
    throw new FinetuneError('ERR_MODEL_CORRUPT', `${this.where}: ${key} must be ${wanted}, got ${JSON.stringify(this.values[key])}`, {
      key,
    });
  }

  private checked<T>(key: string, fallback: T | undefined, wanted: string, test: (v: unknown) => v is T): T {
    if (!this.has(key) && fallback !== undefined) return fallback;
    const value = this.values[key];
    if (!test(value)) this.fail(key, wanted);
    return value;
  }
}
