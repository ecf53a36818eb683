// Times contestants in turns, so that what disturbs the machine for a while disturbs all of them.
import { setTimeout } from 'node:timers/promises';
import { stopwatch } from './quiet.mjs';
import { cleanSamples, othersLimit, spread } from './statistics.mjs';

const rounds = 4;
// Threads of the one who was measured before spin a little longer before they sleep.
const pauseMs = 20;

/** Milliseconds of a call of `run`, over and over for `seconds` after one that is not counted; short calls are timed several at once. */
function timeHere(run, seconds) {
  const start = performance.now();
  run();
  const repeats = Math.max(1, Math.ceil(1 / Math.max(performance.now() - start, 0.001)));
  const read = stopwatch();
  const milliseconds = [];
  const end = performance.now() + 1000 * seconds;
  do {
    const begin = performance.now();
    for (let i = 0; i < repeats; i++) run();
    milliseconds.push((performance.now() - begin) / repeats);
  } while (performance.now() < end);
  return { milliseconds, others: read().others };
}

/** A contestant that calls `run` in this process. */
export const here = (run) => (seconds) => timeHere(run, seconds);

/** Milliseconds of rounds of one call of each of `runs`, for `seconds` in turns as below: those of turns without disturbance. */
export async function roundsOf(runs, seconds) {
  const call = (run) => {
    const begin = performance.now();
    run();
    return performance.now() - begin;
  };
  for (const run of runs) run();
  const turns = [];
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    const read = stopwatch();
    const turnEnd = performance.now() + (1000 * seconds) / (4 * rounds);
    const made = [];
    do made.push(runs.map(call));
    while (performance.now() < turnEnd);
    turns.push({ made, others: read().others });
  }
  return cleanSamples(turns).kept.flatMap(({ made }) => made);
}

/**
 * Median, 20th and 80th percentile of the milliseconds of each contestant, over turns of `seconds` / 4 in which other processes left the
 * cores alone; at most three times as many turns are made. `clean`: turns that count, of `turns` made.
 */
export async function inTurns(contestants, seconds) {
  const turns = contestants.map(() => []);
  const clean = (list) => list.filter(({ others }) => !(others >= othersLimit)).length;
  for (let round = 0; round < 3 * rounds && turns.some((list) => clean(list) < rounds); round++) {
    for (const [i, contestant] of contestants.entries()) {
      await setTimeout(pauseMs);
      turns[i].push(await contestant(seconds / rounds));
    }
  }
  return turns.map((list) => {
    const { kept, clean: counted } = cleanSamples(list);
    return { ...spread(kept.flatMap((turn) => turn.milliseconds)), clean: counted, turns: list.length };
  });
}
