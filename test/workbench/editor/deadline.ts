import { setTimeout as delay } from 'node:timers/promises';

/** How long {@link until} tries and how often it looks; both in milliseconds. */
export interface Deadline {
  timeoutMs?: number;
  intervalMs?: number;
}

/**
 * Calls `probe` until it returns something other than `undefined` or `false`, and returns that.
 * What the probe throws counts as "not yet". On the deadline it throws an error that says what was waited for and
 * what was last seen.
 */
export async function until<T>(
  what: string,
  probe: () => T | false | undefined | Promise<T | false | undefined>,
  { timeoutMs = 30_000, intervalMs = 50 }: Deadline = {},
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= end) {
      throw new Error(`Waited ${timeoutMs / 1000} s in vain for ${what}`, { cause: lastError });
    }
    await delay(intervalMs);
  }
}
