import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { Changes, Result } from '../../protocol/operations.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import type { HostConnection, HostState } from '../hosts/host.ts';
import { Emitter } from './emitter.ts';
import type { Disposable } from './emitter.ts';
import { shapeTimeline } from './lineage.ts';
import type { Timeline } from './lineage.ts';
import { Refresh, usualPace } from './refresh.ts';
import type { Pace } from './refresh.ts';

/** What became of a fork is read again at most that often, and only while it is shown. */
const CHANGES_MS = 60_000;

/** What is known of a list that comes from a host: nothing, the list, or why there is none. */
export type Loaded<T> =
  | { readonly kind: 'loading' }
  | { readonly kind: 'ready'; readonly value: T }
  | { readonly kind: 'failed'; readonly error: ForkpointError };

/** Something that a view shows of a host changed. */
export interface HostChange {
  /** Null: the host itself, or its list of workspaces. */
  readonly workspace: WorkspaceId | null;
  /** A snapshot that was just created, listed by the time this is told. */
  readonly created: SnapshotName | null;
}

/** A workspace was put back to a snapshot: what editors hold of its files is out of date (H30). */
export interface WorkspaceRestored {
  readonly host: Host;
  readonly workspace: WorkspaceId;
  readonly generation: number;
}

export type HostInfo = Result<'host/info'>;

interface SnapshotList {
  state: Loaded<{ readonly snapshots: readonly SnapshotSummary[]; readonly timeline: Timeline }>;
  isStale: boolean;
  readonly created: Set<SnapshotName>;
  readonly refresh: Refresh;
}

/**
 * What the editor knows of one host: its state, workspaces and snapshots. Lists are read when a view first asks for
 * them, and again on the host's word, never by the clock; lists of snapshots only while a view shows them.
 */
export class Host implements Disposable {
  private workspaceList: Loaded<readonly Workspace[]> = { kind: 'loading' };
  private lastInfo: HostInfo | null = null;
  private readonly snapshotLists = new Map<WorkspaceId, SnapshotList>();
  private readonly forkChanges = new Map<WorkspaceId, { readAt: number; value: Changes | null }>();
  private readonly generations = new Map<WorkspaceId, number>();
  private readonly workspacesRefresh: Refresh;
  private readonly changeEmitter = new Emitter<HostChange>();
  private readonly restoreEmitter = new Emitter<WorkspaceRestored>();
  private readonly subscriptions: Disposable[];
  private isShown = false;
  private isInfoStale = true;

  /** The host's state, workspaces or snapshots changed. */
  readonly onDidChange = this.changeEmitter.event;
  /** A workspace was restored, by whomever; also told after a reconnect for what happened meanwhile. */
  readonly onDidRestore = this.restoreEmitter.event;

  constructor(
    readonly connection: HostConnection,
    private readonly pace: Pace = usualPace,
  ) {
    this.workspacesRefresh = new Refresh(() => this.readWorkspaces(), pace);
    this.subscriptions = [
      connection.onDidChangeState((state) => this.stateChanged(state)),
      connection.onDidChange(({ workspace, created }) => {
        if (workspace === null) this.isInfoStale = true;
        this.workspacesRefresh.request();
        if (workspace !== null) this.snapshotsChanged(workspace, created);
      }),
      connection.onDidRestore(({ workspace, generation }) =>
        this.noteGeneration(workspace, generation, true),
      ),
    ];
    if (connection.state.kind === 'connected') this.workspacesRefresh.request();
  }

  /** The host as the user spells it. */
  get id(): string {
    return this.connection.id;
  }

  get state(): HostState {
    return this.connection.state;
  }

  get workspaces(): Loaded<readonly Workspace[]> {
    return this.workspaceList;
  }

  /** Null until it is known. */
  get info(): HostInfo | null {
    return this.lastInfo;
  }

  /** Whether the helper works but has no pool to keep workspaces in. */
  get needsPool(): boolean {
    return this.state.kind === 'connected' && this.lastInfo !== null && this.lastInfo.pool === null;
  }

  /** A workspace as last heard of; it outlives a lost connection. */
  workspace(id: WorkspaceId): Workspace | undefined {
    return this.workspaceList.kind === 'ready'
      ? this.workspaceList.value.find((workspace) => workspace.id === id)
      : undefined;
  }

  /** The timeline of a workspace; asking for it the first time, or when it is out of date, reads it. */
  timeline(id: WorkspaceId): Loaded<Timeline> {
    const list = this.listOf(id);
    if (list.isStale && this.state.kind === 'connected') list.refresh.request();
    return list.state.kind === 'ready' ? { kind: 'ready', value: list.state.value.timeline } : list.state;
  }

  /**
   * What became of a fork since its snapshot, as last read; null until it is known. Asking for it reads it, off and on,
   * while a view shows it.
   */
  changesOf(fork: WorkspaceId): Changes | null {
    const known = this.forkChanges.get(fork);
    const isDue = known === undefined || Date.now() - known.readAt > CHANGES_MS;
    if (isDue && this.isShown && this.state.kind === 'connected') {
      const entry = { readAt: Date.now(), value: known?.value ?? null };
      this.forkChanges.set(fork, entry);
      void this.readChanges(fork, entry);
    }
    return known?.value ?? null;
  }

  /** The snapshots of a workspace, newest first, read when they are not known yet. Rejected with a `ForkpointError`. */
  async snapshots(id: WorkspaceId): Promise<readonly SnapshotSummary[]> {
    const list = this.listOf(id);
    if (list.isStale || list.state.kind === 'failed') await list.refresh.now();
    if (list.state.kind === 'failed') throw list.state.error;
    return list.state.kind === 'ready' ? list.state.value.snapshots : [];
  }

  /** The workspaces, read when they are not known yet. Rejected with a `ForkpointError`. */
  async readyWorkspaces(): Promise<readonly Workspace[]> {
    if (this.workspaceList.kind !== 'ready') await this.workspacesRefresh.now();
    if (this.workspaceList.kind === 'failed') throw this.workspaceList.error;
    return this.workspaceList.kind === 'ready' ? this.workspaceList.value : [];
  }

  /** Reads everything again that a view shows. */
  async refresh(): Promise<void> {
    if (this.state.kind !== 'connected') return;
    for (const list of this.snapshotLists.values()) list.isStale = true;
    for (const changes of this.forkChanges.values()) changes.readAt = -Infinity;
    this.isInfoStale = true;
    await this.workspacesRefresh.now();
    if (this.isShown) await Promise.all([...this.snapshotLists.values()].map((list) => list.refresh.now()));
  }

  /** While no view shows the host, lists of snapshots are only marked as out of date. */
  setShown(isShown: boolean): void {
    this.isShown = isShown;
    if (!isShown || this.state.kind !== 'connected') return;
    for (const list of this.snapshotLists.values()) if (list.isStale) list.refresh.request();
  }

  dispose(): void {
    for (const subscription of this.subscriptions) subscription.dispose();
    for (const list of this.snapshotLists.values()) list.refresh.dispose();
    this.workspacesRefresh.dispose();
    this.changeEmitter.dispose();
    this.restoreEmitter.dispose();
    this.connection.dispose();
  }

  private stateChanged(state: HostState): void {
    if (state.kind === 'connected') {
      this.isInfoStale = true;
      // What happened while disconnected was not told.
      for (const list of this.snapshotLists.values()) {
        list.isStale = true;
        if (this.isShown) list.refresh.request();
      }
      this.workspacesRefresh.request();
    }
    this.changeEmitter.fire({ workspace: null, created: null });
  }

  private snapshotsChanged(id: WorkspaceId, created: SnapshotName | null): void {
    const list = this.listOf(id);
    list.isStale = true;
    if (created !== null) list.created.add(created);
    if (this.isShown) list.refresh.request();
  }

  private listOf(id: WorkspaceId): SnapshotList {
    let list = this.snapshotLists.get(id);
    if (list === undefined) {
      list = {
        state: { kind: 'loading' },
        isStale: true,
        created: new Set(),
        refresh: new Refresh(() => this.readSnapshots(id), this.pace),
      };
      this.snapshotLists.set(id, list);
    }
    return list;
  }

  private async readWorkspaces(): Promise<void> {
    if (this.state.kind !== 'connected') return;
    const before = JSON.stringify([this.lastInfo, this.workspaceList]);
    try {
      const known = this.isInfoStale ? null : this.lastInfo;
      // What changes meanwhile is asked for again.
      this.isInfoStale = false;
      // Side by side: the host's own state changes seldom and takes long to tell.
      const [info, list] = await Promise.allSettled([
        known ?? this.connection.request('host/info', {}),
        known !== null && known.pool === null ? [] : this.connection.request('containers/list', {}),
      ]);
      if (info.status === 'rejected') {
        this.isInfoStale = true;
        throw info.reason;
      }
      this.lastInfo = info.value;
      // Without a pool there are none, and asking for them has failed.
      if (info.value.pool !== null && list.status === 'rejected') throw list.reason;
      const workspaces = info.value.pool === null || list.status === 'rejected' ? [] : list.value;
      this.workspaceList = { kind: 'ready', value: workspaces };
      this.forgetOthers(workspaces);
    } catch (error) {
      // What was known stays in sight while the connection comes back.
      if (this.workspaceList.kind !== 'ready')
        this.workspaceList = { kind: 'failed', error: ForkpointError.from(error) };
    }
    if (JSON.stringify([this.lastInfo, this.workspaceList]) !== before)
      this.changeEmitter.fire({ workspace: null, created: null });
    if (this.workspaceList.kind === 'ready') {
      for (const { id, generation } of this.workspaceList.value) this.noteGeneration(id, generation, false);
    }
  }

  private async readSnapshots(id: WorkspaceId): Promise<void> {
    const list = this.listOf(id);
    if (this.state.kind !== 'connected') return;
    list.isStale = false;
    const before = JSON.stringify(list.state);
    try {
      const snapshots = await this.connection.request('snapshots/list', { container: id });
      const head = snapshots.find((snapshot) => snapshot.isHead)?.name ?? null;
      list.state = { kind: 'ready', value: { snapshots, timeline: shapeTimeline(snapshots, head) } };
    } catch (error) {
      // Not marked as out of date: a view that is drawn again because of the failure must not ask again by itself.
      if (list.state.kind !== 'ready') list.state = { kind: 'failed', error: ForkpointError.from(error) };
    }
    const created = [...list.created].at(-1) ?? null;
    list.created.clear();
    if (created !== null || JSON.stringify(list.state) !== before)
      this.changeEmitter.fire({ workspace: id, created });
  }

  private async readChanges(fork: WorkspaceId, entry: { value: Changes | null }): Promise<void> {
    try {
      const changes = await this.connection.request('containers/changes', { container: fork });
      const isNews = JSON.stringify(changes) !== JSON.stringify(entry.value);
      entry.value = changes;
      if (isNews) this.changeEmitter.fire({ workspace: fork, created: null });
    } catch {
      // Its snapshot is gone, or the connection: there is nothing to show, and commands that need it tell why.
    }
  }

  /**
   * Tells of a restore once, whether the host told it or the count shows it.
   * @param isTold false: a first count tells nothing, there is none to compare it with
   */
  private noteGeneration(workspace: WorkspaceId, generation: number, isTold: boolean): void {
    const known = this.generations.get(workspace);
    if (known !== undefined && known >= generation) return;
    this.generations.set(workspace, generation);
    if (isTold || known !== undefined) this.restoreEmitter.fire({ host: this, workspace, generation });
  }

  private forgetOthers(workspaces: readonly Workspace[]): void {
    const ids = new Set(workspaces.map((workspace) => workspace.id));
    for (const [id, list] of this.snapshotLists) {
      if (ids.has(id)) continue;
      list.refresh.dispose();
      this.snapshotLists.delete(id);
    }
  }
}
