const FIRST_MS = 1000;
const LONGEST_MS = 60_000;

/**
 * Milliseconds to wait before trying again: doubled each time from one second to a minute, and then somewhere
 * between half of that and all of it, so that the windows of one user don't come all at once.
 * @param attempt from 0
 * @param random between 0 and 1
 */
export function backoffMs(attempt: number, random: number = Math.random()): number {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(longest * (0.5 + random / 2));
}
