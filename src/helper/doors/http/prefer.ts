/** How long a request is waited for unless the client prefers otherwise, in seconds. */
export const DEFAULT_WAIT_SECONDS = 60;
/** Longest wait that is heeded, in seconds. */
export const MAXIMUM_WAIT_SECONDS = 600;

/** What a client prefers, as far as it is heeded (RFC 7240 § 4.1, § 4.3). */
export interface Preference {
  /** How long the answer may take before it becomes "202 Accepted". */
  readonly waitSeconds: number;
  /** What Preference-Applied says; null for nothing. */
  readonly applied: string | null;
}

/**
 * Reads the Prefer header: `wait=N` waits N seconds at most, `respond-async` alone doesn't wait. What can't be
 * understood is left unheeded, as the RFC asks.
 */
export function readPreference(header: string | undefined): Preference {
  const preferences = (header ?? '')
    .toLowerCase()
    .split(',')
    .map((one) => one.trim());
  const isAsync = preferences.some((one) => one.split(';', 1)[0]?.trim() === 'respond-async');
  const seconds = preferences.map((one) => /^wait\s*=\s*"?(\d{1,6})"?$/.exec(one)?.[1]).find((one) => one);
  if (seconds !== undefined) {
    const waitSeconds = Math.min(Number(seconds), MAXIMUM_WAIT_SECONDS);
    return { waitSeconds, applied: `${isAsync ? 'respond-async, ' : ''}wait=${String(waitSeconds)}` };
  }
  return isAsync
    ? { waitSeconds: 0, applied: 'respond-async' }
    : { waitSeconds: DEFAULT_WAIT_SECONDS, applied: null };
}
