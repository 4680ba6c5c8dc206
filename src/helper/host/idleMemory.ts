import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Log } from './log.ts';

/** After how long without work memory is given back, in milliseconds. */
const SETTLED_MS = 5_000;

/**
 * Gives memory back once the work is over. V8 collects garbage when it needs room, and a process that has nothing to do needs
 * none: what a thousand operations left would stay with an idle daemon for a minute, and the room for it for ever.
 */
export class IdleMemory {
  #timer: NodeJS.Timeout | null = null;

  /** @param parts `isBusy`: whether there is still work; it is looked at again then */
  constructor(
    private readonly parts: { isBusy(): boolean; release(): void },
    private readonly settledMs = SETTLED_MS,
  ) {}

  /** Called when something has ended, or begun that makes garbage. Memory is given back once per such call at most. */
  touch(): void {
    this.stop();
    this.#timer = setTimeout(() => this.#look(), this.settledMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #look(): void {
    if (this.parts.isBusy()) this.touch();
    else this.parts.release();
  }
}

/**
 * Collects all garbage and gives the room back to the system; takes some tens of milliseconds. Node has no other way to
 * ask for it than V8's own `gc`, which is there in contexts that are made while its flag is set.
 */
export function releaseMemory(log: Log): void {
  const started = performance.now();
  const before = process.memoryUsage.rss();
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect !== 'function') return;
  Reflect.apply(collect, undefined, []);
  // Node 18 and 20 know no flavors and collect the youngest alone when they are given something (V8's gc-extension.cc);
  // there V8 gives the room back by itself some seconds after the collection before.
  Reflect.apply(collect, undefined, [{ type: 'major', execution: 'sync', flavor: 'last-resort' }]);
  const [from, to] = [before, process.memoryUsage.rss()].map((bytes) => Math.round(bytes / 1e6));
  log.debug(
    `at rest: resident memory from ${String(from)} to ${String(to)} MB, ${String(Math.round(performance.now() - started))} ms`,
  );
}
