import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import type { Node } from '../views/nodes.ts';

/** What a button or message of ours passes to a command, in place of a row of the view. */
export interface Pointer {
  readonly pointsTo: {
    readonly host: string;
    readonly workspace?: WorkspaceId;
    readonly snapshot?: SnapshotName;
  };
  /** Where a fork belongs that is made of it; its origin's project unless given. */
  readonly project?: string;
}

/** A workspace that a command works on. */
export interface WorkspaceTarget {
  readonly host: Host;
  readonly workspace: Workspace;
}

/** A snapshot that a command works on. */
export interface SnapshotTarget extends WorkspaceTarget {
  readonly snapshot: SnapshotSummary;
}

/** The host that a command was called on; undefined when it was called on none. */
export function hostOf(fleet: Fleet, target: unknown): Host | undefined {
  if (isPointer(target)) return fleet.host(target.pointsTo.host);
  return isNode(target) ? target.host : undefined;
}

/** The workspace that a command was called on. */
export function workspaceOf(fleet: Fleet, target: unknown): WorkspaceTarget | undefined {
  if (isPointer(target)) {
    const host = fleet.host(target.pointsTo.host);
    const id = target.pointsTo.workspace;
    const workspace = id === undefined ? undefined : host?.workspace(id);
    return host === undefined || workspace === undefined ? undefined : { host, workspace };
  }
  if (!isNode(target)) return undefined;
  if ('workspace' in target) return { host: target.host, workspace: target.workspace };
  return target.kind === 'message' && target.parent.kind === 'workspace'
    ? workspaceOf(fleet, target.parent)
    : undefined;
}

/**
 * The snapshots that a command was called on: the selected rows when the one it was called on is among them, else
 * that one. A side branch stands for its tip.
 */
export function snapshotsOf(target: unknown, selection: unknown): readonly SnapshotTarget[] {
  const selected: readonly unknown[] = Array.isArray(selection) ? selection : [];
  const isInSelection = isNode(target) && selected.some((node) => isNode(node) && node.id === target.id);
  // The one that was clicked comes first: a command for one works on it, whatever else is selected.
  const others = isInSelection ? selected.filter((node) => isNode(node) && node.id !== target.id) : [];
  return [target, ...others].map(snapshotOf).filter((found) => found !== undefined);
}

/** The snapshot that a message of ours points to, read from its host. Rejected with a `ForkpointError`. */
export async function pointedSnapshot(fleet: Fleet, target: unknown): Promise<SnapshotTarget | undefined> {
  const at =
    isPointer(target) && target.pointsTo.snapshot !== undefined ? workspaceOf(fleet, target) : undefined;
  if (at === undefined || !isPointer(target)) return undefined;
  const snapshots = await at.host.snapshots(at.workspace.id);
  const snapshot = snapshots.find(({ name }) => name === target.pointsTo.snapshot);
  return snapshot === undefined ? undefined : { ...at, snapshot };
}

/** Whether a command was called on the row of a fork itself, not on one of its snapshots. */
export function isForkRow(target: unknown): boolean {
  return isNode(target) && target.kind === 'workspace' && target.workspace.origin !== null;
}

/** The project that a message of ours wants a fork in. */
export function projectOf(target: unknown): string | undefined {
  return isPointer(target) ? target.project : undefined;
}

function snapshotOf(target: unknown): SnapshotTarget | undefined {
  if (!isNode(target)) return undefined;
  if (target.kind === 'snapshot')
    return { host: target.host, workspace: target.workspace, snapshot: target.snapshot };
  if (target.kind === 'branch')
    return { host: target.host, workspace: target.workspace, snapshot: target.row.tip };
  return undefined;
}

function isPointer(value: unknown): value is Pointer {
  return typeof value === 'object' && value !== null && 'pointsTo' in value;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'kind' in value && 'id' in value && 'host' in value;
}
