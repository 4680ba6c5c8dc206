import * as path from 'node:path';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';

/** Where things are in the pool; ARCHITECTURE: "Data on the host". */
export class Layout {
  constructor(readonly root: string) {}

  readonly workspaces = (): string => path.join(this.root, 'workspaces');
  readonly workspace = (id: WorkspaceId): string => path.join(this.workspaces(), id);
  readonly workspaceRecord = (id: WorkspaceId): string => path.join(this.workspace(id), 'workspace.json');
  /** A part is `rootfs` or `volumes/NAME`. */
  readonly livePart = (id: WorkspaceId, part: string): string => path.join(this.workspace(id), part);
  /** Where a restore prepares a part before it takes the live one's place. */
  readonly nextPart = (id: WorkspaceId, part: string): string => path.join(this.workspace(id), 'next', part);
  readonly optionFile = (id: WorkspaceId): string => path.join(this.workspace(id), 'criu.conf');
  /** Scratch of one dump or restore: plan, marks, logs. */
  readonly work = (id: WorkspaceId): string => path.join(this.workspace(id), 'work');

  readonly snapshots = (): string => path.join(this.root, 'snapshots');
  readonly snapshotsOf = (id: WorkspaceId): string => path.join(this.snapshots(), id);
  readonly snapshot = (id: WorkspaceId, name: SnapshotName): string => path.join(this.snapshotsOf(id), name);
  readonly snapshotRecord = (id: WorkspaceId, name: SnapshotName): string =>
    path.join(this.snapshot(id, name), 'snapshot.json');
  readonly memory = (id: WorkspaceId, name: SnapshotName): string =>
    path.join(this.snapshot(id, name), 'memory');
  /** What a dump in progress builds upon. */
  readonly preDumps = (id: WorkspaceId, name: SnapshotName): string =>
    path.join(this.snapshot(id, name), 'pre-dumps');
  readonly snapshotPart = (id: WorkspaceId, name: SnapshotName, part: string): string =>
    path.join(this.snapshot(id, name), part);

  readonly journal = (): string => path.join(this.root, 'journal');
  readonly trash = (): string => path.join(this.root, 'trash');
  /** Expired snapshots, which can be taken back for a day. */
  readonly expired = (): string => path.join(this.root, 'expired');
  readonly expiredSnapshot = (id: WorkspaceId, name: SnapshotName): string =>
    path.join(this.expired(), id, name);
  /** What a repair, or a restore that could not be undone, has put aside; only a person deletes in there. */
  readonly lostAndFound = (): string => path.join(this.root, 'lost+found');
  /** Of the HTTP API: whether it is on, and the hashes of its tokens. */
  readonly api = (): string => path.join(this.root, 'api');
  /** Space for records on a full disk, see ballast.ts. */
  readonly ballast = (): string => path.join(this.root, 'ballast');
  readonly clock = (): string => path.join(this.root, 'clock.json');
  /** Files of the helper itself that containers use: init, seccomp profile, hook scripts. */
  readonly assets = (): string => path.join(this.root, 'assets');
}

/** Name of the part that holds a volume. */
export function volumePart(name: string): string {
  return `volumes/${name}`;
}

/** The root file system's part. */
export const ROOTFS = 'rootfs';
