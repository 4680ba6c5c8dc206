import type { Disposable } from './emitter.ts';

/** How long requests are gathered before one reading answers them, in milliseconds. */
export interface Pace {
  /** Events of one operation come in bursts: one reading after the last of them is enough. */
  readonly burstMs: number;
  /** A host tells what it counts in the background piece by piece, right after the event that people wait for. */
  readonly leisureMs: number;
  /** How long after a reading events count as following it. */
  readonly followingMs: number;
}

export const usualPace: Pace = { burstMs: 40, leisureMs: 400, followingMs: 1500 };

/**
 * Reads something again whenever it is asked to: never twice at once, once for a burst of requests, and once more
 * when a request came while it was reading.
 */
export class Refresh implements Disposable {
  private timer: NodeJS.Timeout | undefined;
  private readAt = -Infinity;
  private running: Promise<void> | undefined;
  private isAskedAgain = false;
  private isDisposed = false;

  /** @param read must not reject: it keeps its failure where the views find it */
  constructor(
    private readonly read: () => Promise<void>,
    private readonly pace: Pace = usualPace,
  ) {}

  /** Reads soon, or a little later when it has read just now. */
  request(): void {
    if (this.isDisposed || this.timer !== undefined) return;
    if (this.running !== undefined) {
      this.isAskedAgain = true;
      return;
    }
    const { burstMs, leisureMs, followingMs } = this.pace;
    const isFollowing = performance.now() - this.readAt < followingMs;
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        void this.now();
      },
      isFollowing ? leisureMs : burstMs,
    );
  }

  /** Reads at once, or again after the reading under way; resolves when what it read is from after this call. */
  async now(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.isDisposed) return;
    if (this.running !== undefined) {
      this.isAskedAgain = true;
      await this.running;
      return;
    }
    this.isAskedAgain = false;
    this.running = this.readUntilSettled();
    try {
      await this.running;
    } finally {
      this.running = undefined;
    }
  }

  dispose(): void {
    this.isDisposed = true;
    clearTimeout(this.timer);
  }

  private async readUntilSettled(): Promise<void> {
    do {
      await this.read();
      this.readAt = performance.now();
    } while (this.takeRequest());
  }

  private takeRequest(): boolean {
    const isAsked = this.isAskedAgain && !this.isDisposed;
    this.isAskedAgain = false;
    return isAsked;
  }
}
