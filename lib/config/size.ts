/** Bytes as '8GiB', '512 MiB', '1.5GB' or '4096'. */
export const sizePattern = /^\d+(\.\d+)?\s*([KMGT]i?B|B)?$/;

const units: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** Bytes of a size; KiB, MiB, GiB, TiB are powers of 1024, KB, MB, GB, TB of 1000. Undefined if it is not a size of at least one byte. */
export function parseSize(size: string | number): number | undefined {
  if (typeof size === 'number') return Number.isSafeInteger(size) && size > 0 ? size : undefined;
  const text = size.trim();
  if (!sizePattern.test(text)) return undefined;
  const [, number = '', unit = 'B'] = /^([\d.]+)\s*(\w*)$/.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * (units[unit || 'B'] ?? Number.NaN));
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
