import type { HostConnection } from '../hosts/host.ts';
import { Emitter } from './emitter.ts';
import type { Disposable } from './emitter.ts';
import { Host } from './host.ts';
import type { HostChange, WorkspaceRestored } from './host.ts';

/** A change of one host, or (without one) of the list of hosts. */
export type FleetChange = ({ readonly host: Host } & HostChange) | { readonly host: null };

/** All hosts of this window; the one source of events for its views. */
export class Fleet implements Disposable {
  private readonly members = new Map<
    string,
    { readonly host: Host; readonly subscriptions: readonly Disposable[] }
  >();
  private readonly changeEmitter = new Emitter<FleetChange>();
  private readonly restoreEmitter = new Emitter<WorkspaceRestored>();
  private isShown = false;

  readonly onDidChange = this.changeEmitter.event;
  readonly onDidRestore = this.restoreEmitter.event;

  constructor(private readonly createConnection: (id: string) => HostConnection) {}

  /** In the order of the settings. */
  get hosts(): readonly Host[] {
    return [...this.members.values()].map((member) => member.host);
  }

  host(id: string): Host | undefined {
    return this.members.get(id)?.host;
  }

  /** Keeps the hosts named here, makes the missing ones, disconnects the others. */
  setHosts(ids: readonly string[]): void {
    const wanted = new Set(ids);
    if (wanted.size === this.members.size && [...wanted].every((id) => this.members.has(id))) return;
    const before = new Map(this.members);
    this.members.clear();
    for (const id of wanted) this.members.set(id, before.get(id) ?? this.create(id));
    for (const [id, member] of before) if (!wanted.has(id)) end(member);
    this.changeEmitter.fire({ host: null });
  }

  /** Whether a view is in sight that shows the hosts. */
  setShown(isShown: boolean): void {
    this.isShown = isShown;
    for (const { host } of this.members.values()) host.setShown(isShown);
  }

  dispose(): void {
    for (const member of this.members.values()) end(member);
    this.members.clear();
    this.changeEmitter.dispose();
    this.restoreEmitter.dispose();
  }

  private create(id: string): { readonly host: Host; readonly subscriptions: readonly Disposable[] } {
    const host = new Host(this.createConnection(id));
    host.setShown(this.isShown);
    const subscriptions = [
      host.onDidChange((change) => this.changeEmitter.fire({ host, ...change })),
      host.onDidRestore((restored) => this.restoreEmitter.fire(restored)),
    ];
    return { host, subscriptions };
  }
}

function end(member: { readonly host: Host; readonly subscriptions: readonly Disposable[] }): void {
  for (const subscription of member.subscriptions) subscription.dispose();
  member.host.dispose();
}
