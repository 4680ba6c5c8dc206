import { unlessCancelled } from '../host/cancellation.ts';

/** Lets the operations on one thing run one after another, in the order they came; different things run side by side. */
export class Turns {
  private readonly last = new Map<string, Promise<void>>();
  private readonly holders = new Map<string, string>();
  private idleSince = performance.now();

  /** @param onFree told when {@link holder} no longer answers what it did for that key */
  constructor(private readonly onFree: (key: string) => void = () => undefined) {}

  /**
   * Runs `work` when all that came before it for `key` has ended, whether well or not.
   * Rejected at once when `signal` aborts while it waits.
   * @param title what {@link holder} answers meanwhile
   */
  async take<T>(key: string, signal: AbortSignal, work: () => Promise<T>, title = ''): Promise<T> {
    const before = this.last.get(key) ?? Promise.resolve();
    let leave: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => {
      leave = resolve;
    });
    // One who gives up waiting leaves those before and behind in their order.
    const chained = before.then(() => mine);
    this.last.set(key, chained);
    void chained.then(() => {
      if (this.last.get(key) === chained) this.last.delete(key);
      this.idleSince = performance.now();
    });
    try {
      await unlessCancelled(before, signal);
      this.holders.set(key, title);
      try {
        return await work();
      } finally {
        this.holders.delete(key);
        if (title !== '') this.onFree(key);
      }
    } finally {
      leave();
    }
  }

  /** For how long nobody has had a turn or waited for one, in milliseconds. */
  get idleMs(): number {
    return this.last.size > 0 ? 0 : performance.now() - this.idleSince;
  }

  /** What is under way for `key`, or null. */
  holder(key: string): string | null {
    return this.holders.get(key) || null;
  }
}
