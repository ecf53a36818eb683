const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes for people: '512 B', '1.50 MiB', '12.3 GiB' (powers of 1024, three digits). */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.5 would print as 1024: go to the next unit first.
  while (Math.abs(value) >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${digits(value)} ${units[unit]}`;
}

function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** '12,345,678' */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** A duration in ms for people: '8s', '3m 05s', '2h 10m', '3d 4h'. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '-';
  const seconds = Math.round(ms / 1000);
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86400)];
  const two = (value: number) => String(value).padStart(2, '0');
  if (days) return `${days}d ${hours % 24}h`;
  if (hours) return `${hours}h ${two(minutes % 60)}m`;
  if (minutes) return `${minutes}m ${two(seconds % 60)}s`;
  return `${seconds}s`;
}

/** A learning rate or a loss ratio in few characters: '2.0e-4', '0.03'. */
export function formatRate(rate: number): string {
  return rate !== 0 && Math.abs(rate) < 0.01 ? rate.toExponential(1) : String(Number(rate.toPrecision(3)));
}

/** A share in percent: '0.52 %', '100 %'. */
export function formatPercent(share: number): string {
  const percent = share * 100;
  return `${percent >= 99.95 || percent === 0 ? percent.toFixed(0) : percent >= 10 ? percent.toFixed(1) : percent.toFixed(2)} %`;
}

/** Quotes a word for a POSIX shell where it needs it. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
