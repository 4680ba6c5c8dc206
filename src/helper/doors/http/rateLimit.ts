/** How many requests are let through: `burst` at once, then `perSecond`. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/** How many callers are kept in mind; with more of them the one unheard of for longest is forgotten. */
const MAXIMUM_CALLERS = 1000;

/** A bucket of requests for each caller, filled steadily up to its burst. */
export class RateLimit {
  readonly #rate: Rate;
  readonly #now: () => number;
  readonly #buckets = new Map<string, { filled: number; at: number }>();

  /** @param now milliseconds on a clock that never jumps */
  constructor(rate: Rate, now: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Takes one request from the caller's bucket. Answers 0, or after how many whole seconds to try again. */
  take(caller: string): number {
    const { burst, perSecond } = this.#rate;
    const now = this.#now();
    const bucket = this.#buckets.get(caller) ?? { filled: burst, at: now };
    const filled = Math.min(burst, bucket.filled + ((now - bucket.at) / 1000) * perSecond);
    const isAllowed = filled >= 1;
    // Moved to the end: the map's order is that of when a caller was last heard of.
    this.#buckets.delete(caller);
    this.#buckets.set(caller, { filled: isAllowed ? filled - 1 : filled, at: now });
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= MAXIMUM_CALLERS) break;
      this.#buckets.delete(oldest);
    }
    return isAllowed ? 0 : Math.ceil((1 - filled) / perSecond);
  }
}
