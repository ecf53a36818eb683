// Copy bandwidth without torch: worker threads copy 256 MiB between shared buffers, each a part, with Uint8Array.set, which is the C
// library's memcpy. Bytes read and written both count. (The `cast` op of the engine reaches less: it has no streaming stores.)
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { stopwatch } from './quiet.mjs';

const size = 256 << 20;

/** A contestant for inTurns that copies on `threads` threads; bytes moved by one copy; stop(). */
export async function startCopy(threads) {
  const buffers = [new SharedArrayBuffer(size), new SharedArrayBuffer(size)];
  // Untouched pages would be copied from one page of zeros.
  for (const buffer of buffers) new Uint8Array(buffer).fill(1);
  const part = Math.floor(size / threads);
  const workers = Array.from({ length: threads }, (_, i) => {
    return new Worker(new URL(import.meta.url), { workerData: { buffers, begin: i * part, length: part } });
  });
  const copyPart = (worker) => {
    worker.postMessage('copy');
    return once(worker, 'message');
  };
  const copy = () => Promise.all(workers.map(copyPart));
  await copy();
  const contestant = async (seconds) => {
    const read = stopwatch();
    const milliseconds = [];
    const end = performance.now() + 1000 * seconds;
    do {
      const begin = performance.now();
      await copy();
      milliseconds.push(performance.now() - begin);
    } while (performance.now() < end);
    return { milliseconds, others: read().others };
  };
  return { contestant, bytes: 2 * part * threads, stop: () => Promise.all(workers.map((worker) => worker.terminate())) };
}

if (!isMainThread && workerData?.buffers) {
  const { buffers, begin, length } = workerData;
  const [from, to] = buffers.map((buffer) => new Uint8Array(buffer, begin, length));
  parentPort.on('message', () => {
    to.set(from);
    parentPort.postMessage('copied');
  });
}
