/** A time limit that stands still while the user is being asked. */
export class Patience {
  #paused = 0;
  readonly #waiting = new Set<Wait>();

  /** Runs `ask` with all limits standing still. */
  async whileAsking<T>(ask: () => Promise<T>): Promise<T> {
    this.#paused += 1;
    for (const wait of this.#waiting) wait.stop();
    try {
      return await ask();
    } finally {
      this.#paused -= 1;
      if (this.#paused === 0) for (const wait of this.#waiting) wait.start();
    }
  }

  /** Settles as `promise` does, or is rejected with `onTimeout()` after `ms` milliseconds without a question. */
  async within<T>(ms: number, promise: Promise<T>, onTimeout: () => Error): Promise<T> {
    const wait = new Wait(ms);
    this.#waiting.add(wait);
    if (this.#paused === 0) wait.start();
    try {
      return await Promise.race([
        promise,
        wait.over.then(() => {
          throw onTimeout();
        }),
      ]);
    } finally {
      wait.stop();
      this.#waiting.delete(wait);
    }
  }
}

class Wait {
  readonly over: Promise<void>;
  #resolve: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #leftMs: number;

  constructor(ms: number) {
    this.#leftMs = ms;
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  start(): void {
    this.#startedAt = performance.now();
    this.#timer = setTimeout(this.#resolve, this.#leftMs);
  }

  stop(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#leftMs = Math.max(0, this.#leftMs - (performance.now() - this.#startedAt));
  }
}
