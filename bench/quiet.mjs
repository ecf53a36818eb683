// How much of the cores other processes took while something ran. Linux; elsewhere nothing is known and nothing is refused.
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

// USER_HZ, the unit of /proc/stat, is 100 on every architecture that Node runs on.
const ticksPerSecond = 100;

/** Processor seconds spent by everybody since the start of the system, stolen ones included. */
function busySeconds() {
  const [, user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/).map(Number);
  return (user + nice + system + irq + softirq + steal) / ticksPerSecond;
}

function ownSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Starts a stopwatch; calling it gives the seconds since and the share of the cores that other processes took. */
export function stopwatch() {
  const known = existsSync('/proc/stat');
  const busy = known ? busySeconds() : 0;
  const own = ownSeconds();
  const start = performance.now();
  return () => {
    const seconds = (performance.now() - start) / 1000;
    if (!known) return { seconds, others: undefined };
    const others = (busySeconds() - busy - (ownSeconds() - own)) / (seconds * availableParallelism());
    return { seconds, others: Math.max(0, others) };
  };
}

/** Resident bytes of this process: now (VmRSS) or at most so far (VmHWM); undefined where the system does not say. */
export function residentBytes(key) {
  if (!existsSync('/proc/self/status')) return undefined;
  const kilobytes = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
