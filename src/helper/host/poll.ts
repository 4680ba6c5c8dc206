import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks `check` until it answers true, or until `timeoutMs` have passed.
 * @param everyMs pause between two questions
 * @returns whether it became true
 */
export async function poll(
  check: () => boolean | Promise<boolean>,
  options: { everyMs: number; timeoutMs: number },
): Promise<boolean> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    if (await check()) return true;
    if (performance.now() >= deadline) return false;
    await sleep(options.everyMs);
  }
}
