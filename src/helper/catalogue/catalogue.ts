import { mkdir, readFile, readdir, rename } from 'node:fs/promises';
import { ForkpointError } from '../../protocol/errors.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../protocol/names.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import { newestFirst } from '../../protocol/timelineOrder.ts';
import type { Log } from '../host/log.ts';
import { exists, isMissing } from '../subvolumes/btrfs.ts';
import { syncDirectory, writeJsonDurably } from './durableFile.ts';
import type { MakeRoom } from './durableFile.ts';
import { parseJson } from './journal.ts';
import type { Layout } from './layout.ts';
import { SnapshotRecordSchema, WorkspaceRecordSchema } from './records.ts';
import type { SnapshotRecord, WorkspaceRecord } from './records.ts';

/** The workspaces and snapshots on disk, read once and kept in memory; every change is written before it is seen. */
export class Catalogue {
  private readonly workspaces = new Map<WorkspaceId, WorkspaceRecord>();
  private readonly snapshots = new Map<WorkspaceId, Map<SnapshotName, SnapshotRecord>>();

  constructor(
    readonly layout: Layout,
    private readonly log: Log,
    /** What a write on a full disk calls. */
    private readonly makeRoom: MakeRoom,
  ) {}

  /**
   * Makes the pool's directories and reads what is there. A record that can't be read is left alone and logged; of one that
   * speaks of another place than its own, its own counts.
   */
  async load(): Promise<void> {
    const { layout } = this;
    for (const directory of [
      layout.workspaces(),
      layout.snapshots(),
      layout.journal(),
      layout.trash(),
      layout.expired(),
      layout.assets(),
    ]) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
    }
    for (const entry of await readdir(layout.workspaces())) {
      const id = WorkspaceIdSchema.safeParse(entry);
      if (!id.success) continue;
      const record = WorkspaceRecordSchema.safeParse(await this.readJson(layout.workspaceRecord(id.data)));
      if (record.success) this.workspaces.set(id.data, { ...record.data, id: id.data });
      else
        this.log.warn(
          `the record of workspace ${entry} can't be read; it is left alone: ${record.error.message}`,
        );
    }
    for (const id of this.workspaces.keys()) this.snapshots.set(id, await this.readSnapshots(id));
  }

  allWorkspaces(): WorkspaceRecord[] {
    return [...this.workspaces.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  /** The workspace that a request means, by id or name, or `workspace.notFound`. */
  workspace(reference: string): WorkspaceRecord {
    for (const record of this.workspaces.values()) {
      if (record.id === reference || record.name === reference) return record;
    }
    throw new ForkpointError('workspace.notFound', { workspace: reference });
  }

  hasWorkspace(id: WorkspaceId): boolean {
    return this.workspaces.has(id);
  }

  /** Its snapshots, newest first. */
  snapshotsOf(id: WorkspaceId): SnapshotRecord[] {
    return [...(this.snapshots.get(id)?.values() ?? [])].sort(newestFirst);
  }

  /** The snapshot that a request means, by name or alias, or `snapshot.notFound`. */
  snapshot(workspace: WorkspaceRecord, reference: string): SnapshotRecord {
    const all = this.snapshots.get(workspace.id);
    for (const record of all?.values() ?? []) {
      if (record.name === reference || record.alias === reference) return record;
    }
    throw new ForkpointError('snapshot.notFound', { workspace: workspace.name, name: reference });
  }

  async saveWorkspace(record: WorkspaceRecord): Promise<WorkspaceRecord> {
    await writeJsonDurably(this.layout.workspaceRecord(record.id), record, this.makeRoom);
    this.workspaces.set(record.id, record);
    if (!this.snapshots.has(record.id)) this.snapshots.set(record.id, new Map());
    return record;
  }

  async saveSnapshot(record: SnapshotRecord): Promise<SnapshotRecord> {
    await writeJsonDurably(this.layout.snapshotRecord(record.workspace, record.name), record, this.makeRoom);
    const all = this.snapshots.get(record.workspace) ?? new Map<SnapshotName, SnapshotRecord>();
    all.set(record.name, record);
    this.snapshots.set(record.workspace, all);
    return record;
  }

  /**
   * Moves a snapshot to the timeline of another workspace. May be repeated, also after a crash between the move and the
   * change of its record; one that is not there at all is no error.
   */
  async moveSnapshot(
    from: { workspace: WorkspaceId; name: SnapshotName },
    to: { workspace: WorkspaceId; name: SnapshotName },
    change: (record: SnapshotRecord) => Partial<SnapshotRecord>,
  ): Promise<void> {
    const { layout } = this;
    const record =
      this.snapshots.get(from.workspace)?.get(from.name) ?? this.snapshots.get(to.workspace)?.get(to.name);
    if (record === undefined) return;
    const source = layout.snapshot(from.workspace, from.name);
    if (await exists(source)) {
      await mkdir(layout.snapshotsOf(to.workspace), { recursive: true, mode: 0o700 });
      await rename(source, layout.snapshot(to.workspace, to.name));
      await syncDirectory(layout.snapshotsOf(to.workspace));
      await syncDirectory(layout.snapshotsOf(from.workspace));
    }
    this.forgetSnapshot(from.workspace, from.name);
    await this.saveSnapshot({ ...record, ...change(record), workspace: to.workspace, name: to.name });
  }

  /** Forgets a snapshot whose files have been moved away. */
  forgetSnapshot(id: WorkspaceId, name: SnapshotName): void {
    this.snapshots.get(id)?.delete(name);
  }

  forgetWorkspace(id: WorkspaceId): void {
    this.workspaces.delete(id);
    this.snapshots.delete(id);
  }

  private async readSnapshots(id: WorkspaceId): Promise<Map<SnapshotName, SnapshotRecord>> {
    const found = new Map<SnapshotName, SnapshotRecord>();
    const entries = await readdir(this.layout.snapshotsOf(id)).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    for (const entry of entries) {
      const name = SnapshotNameSchema.safeParse(entry);
      if (!name.success) continue;
      const json = await this.readJson(this.layout.snapshotRecord(id, name.data));
      if (json === undefined) continue;
      const record = SnapshotRecordSchema.safeParse(json);
      if (record.success) found.set(name.data, { ...record.data, workspace: id, name: name.data });
      else
        this.log.warn(
          `the record of snapshot ${id}/${entry} can't be read; it is left alone: ${record.error.message}`,
        );
    }
    return found;
  }

  /** Undefined where there is none, and where the disk does not give it: one record is not to keep all others away. */
  private async readJson(file: string): Promise<unknown> {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if (!isMissing(error)) this.log.warn(`${file} can't be read; it is left alone: ${String(error)}`);
      return undefined;
    });
    return text === undefined ? undefined : parseJson(text);
  }
}
