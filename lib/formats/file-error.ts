import { FinetuneError } from '../native/errors.js';

const reasons: Record<string, string> = {
  ENOENT: 'there is no such file or folder; check the path',
  EACCES: 'permission denied; change its permissions or choose another place',
  EPERM: 'not permitted; change its permissions or choose another place',
  EROFS: 'the file system is read-only; choose another place',
  ENOSPC: 'the disk is full; free some space or choose another place',
  EDQUOT: 'the disk quota is used up; free some space or choose another place',
  EISDIR: 'it is a folder, a file was expected',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EEXIST: 'it exists already',
  ENOTEMPTY: 'it exists already and is not empty',
  EMFILE: 'too many files are open; raise the limit with ulimit -n',
  ELOOP: 'its symbolic links form a circle',
  ENAMETOOLONG: 'the name is too long',
};

/** ERR_FILE for a failed system call: the path, what was tried, why it failed, what to do. Passes FinetuneErrors through. */
export function fileError(path: string, action: string, cause: unknown): FinetuneError {
  if (cause instanceof FinetuneError) return cause;
  const systemCode = (cause as { code?: unknown } | undefined)?.code;
  const reason = (typeof systemCode === 'string' && reasons[systemCode]) || (cause instanceof Error ? cause.message : String(cause));
  return new FinetuneError('ERR_FILE', `${path}: cannot ${action}: ${reason}`, { path, systemCode }, cause);
}

/** fileError for failed system calls; anything else, such as a defect in a callback, stays what it is. */
export function wrapSystemError(path: string, action: string, cause: unknown): unknown {
  return cause instanceof Error && 'syscall' in cause ? fileError(path, action, cause) : cause;
}

/** ERR_MODEL_CORRUPT that names the file, what is wrong with it and what to do. */
export function corruptFile(path: string, problem: string, advice = 'Download or export it again.'): FinetuneError {
  return new FinetuneError('ERR_MODEL_CORRUPT', `${path}: ${problem}. ${advice}`, { path });
}

/** ERR_MODEL_UNSUPPORTED that names the file, what is not supported and what to do. */
export function unsupportedFile(path: string, problem: string, advice: string): FinetuneError {
  return new FinetuneError('ERR_MODEL_UNSUPPORTED', `${path}: ${problem}. ${advice}`, { path });
}

/** A value from an untrusted file, short enough for a message. */
export function shown(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : typeof value === 'bigint'
        ? String(value)
        : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
