import type { Memory } from './currentChoice.ts';
import type { Disposable } from './emitter.ts';
import type { Fleet } from './fleet.ts';

const KEY = 'setUpHosts';

/** Which hosts have been seen ready for workspaces, in whatever window: what is not yet in use claims no place (H36). */
export class SetUpHosts implements Disposable {
  private readonly subscription: Disposable;

  /** @param memory that of all windows */
  constructor(
    private readonly fleet: Fleet,
    private readonly memory: Memory,
  ) {
    this.subscription = fleet.onDidChange(() => this.note());
  }

  has(host: string): boolean {
    return this.ids.includes(host);
  }

  dispose(): void {
    this.subscription.dispose();
  }

  private get ids(): readonly string[] {
    const value = this.memory.get(KEY);
    return Array.isArray(value) ? value.filter((id) => typeof id === 'string') : [];
  }

  private note(): void {
    const ready = this.fleet.hosts
      .filter(({ info, state }) => state.kind === 'connected' && info !== null && info.pool !== null)
      .map(({ id }) => id);
    const known = this.ids;
    const all = [...new Set([...known, ...ready])];
    if (all.length > known.length) void this.memory.update(KEY, all);
  }
}
