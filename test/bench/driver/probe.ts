import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const port = 8080;
const pollMs = 2;
/** An answer that is not there by then counts as none, and no retransmission is waited for. */
const answerMs = 100;
const patienceMs = 300_000;
/** So many answers after the end of what was watched show that it lasts. */
const lastingAnswers = 10;

/** What was seen from outside while something was done to a workload. */
export interface Outage {
  /** From the start of the work until the first answer after the longest silence, in milliseconds. */
  readonly answerMs: number;
  /** The longest time without an answer, in milliseconds. */
  readonly outageMs: number;
}

/** Asks all the while, and tells when the answers stopped and came again. */
export async function outage<T>(
  address: string,
  work: () => Promise<T>,
): Promise<Outage & { readonly result: T }> {
  await untilAnswer(address);
  const started = performance.now();
  const state = { hasEnded: false, hasFailed: false };
  const result = work().finally(() => (state.hasEnded = true));
  result.catch(() => (state.hasFailed = true));
  let last = started;
  let longest = { from: started, to: started };
  for (let since = 0; since < lastingAnswers && !state.hasFailed;) {
    if (await answers(address)) {
      const now = performance.now();
      if (now - last > longest.to - longest.from) longest = { from: last, to: now };
      last = now;
      if (state.hasEnded) since++;
    }
    if (performance.now() - started > patienceMs) throw new Error(`${address} does not answer any more`);
    await delay(pollMs);
  }
  return {
    answerMs: longest.to - started,
    outageMs: longest.to - longest.from,
    result: await result,
  };
}

/** The longest time without an answer within that many milliseconds. */
export async function longestSilence(address: string, watchedMs: number): Promise<number> {
  const started = performance.now();
  let last = started;
  let longest = 0;
  while (last - started < watchedMs) {
    if (await answers(address)) {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }
    if (performance.now() - last > patienceMs) throw new Error(`${address} does not answer any more`);
    await delay(pollMs);
  }
  return longest;
}

/**
 * Waits for the first answer.
 * @param work what brings it about; nothing is waited for once it has failed
 */
export async function untilAnswer(address: string, work?: Promise<unknown>): Promise<void> {
  const deadline = performance.now() + patienceMs;
  const state = { hasFailed: false };
  work?.catch(() => (state.hasFailed = true));
  while (!(await answers(address))) {
    if (state.hasFailed) await work;
    if (performance.now() > deadline) throw new Error(`${address} does not answer`);
    await delay(pollMs);
  }
}

/** Has the workload of workload.py rewrite that share of its pages, in percent. */
export async function change(address: string, percent: number): Promise<void> {
  if (!(await answers(address, `/change/${percent}`, patienceMs)))
    throw new Error(`${address} did not change its memory`);
}

/** Asks over a connection of its own. */
function answers(address: string, path = '/ping', timeoutMs = answerMs): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (isThere: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isThere);
    };
    const timer = setTimeout(end, timeoutMs, false);
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    socket.on('data', (bytes) => end(bytes.toString().startsWith('HTTP/1.1 200')));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n`);
  });
}
