import type { WorkspaceId } from '../../protocol/names.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import { isSameHost, parseHostEntry } from './authority.ts';
import type { FolderPlace } from './authority.ts';

/** A workspace of a host, by name where the host can't be asked. */
export interface WorkspaceChoice {
  /** The host as the user spells it. */
  readonly host: string;
  readonly workspace: WorkspaceId;
  /** For showing it while the host isn't connected. */
  readonly name: string;
}

/** How a folder is joined to a workspace: through its files on the host, or from the inside. */
export type Relation = 'hostFiles' | 'inside';

/** The workspaces of a host as far as they are known. */
export interface KnownHost {
  readonly id: string;
  /** Null until the host was asked. */
  readonly workspaces: readonly Workspace[] | null;
}

/** The folder that a window shows. */
export interface WindowFolder {
  readonly place: FolderPlace;
  /** Absolute, `/`-separated; null for a window without a folder. */
  readonly path: string | null;
}

/** What the current workspace of a window is, and how that is known. */
export type CurrentWorkspace =
  | {
      readonly kind: 'known';
      readonly choice: WorkspaceChoice;
      readonly source: 'chosen' | 'folder' | 'only';
    }
  /** It is on this host, which must be asked first. */
  | { readonly kind: 'onHost'; readonly host: string }
  | { readonly kind: 'unknown' };

/**
 * Finds the current workspace without asking: the explicit choice, else the one that the folder is in, else the only one
 * that is no fork.
 * A choice whose workspace is gone from its host counts as none.
 */
export function findCurrentWorkspace(
  chosen: WorkspaceChoice | null,
  folder: WindowFolder,
  hosts: readonly KnownHost[],
): CurrentWorkspace {
  if (chosen !== null && isStillThere(chosen, hosts))
    return { kind: 'known', choice: chosen, source: 'chosen' };

  const inFolder = findByFolder(folder, hosts);
  if (inFolder !== null) return { kind: 'known', choice: inFolder, source: 'folder' };

  const unasked = hosts.filter((host) => host.workspaces === null);
  const owner = findHostOf(folder.place, hosts);
  if (owner?.workspaces === null) return { kind: 'onHost', host: owner.id };

  // Forks come and go beside what a window works on.
  const all = hosts.flatMap((host) =>
    (host.workspaces ?? [])
      .filter((workspace) => workspace.origin === null)
      .map((workspace) => choiceOf(host.id, workspace)),
  );
  // With a host that wasn't asked yet the only one known may not be the only one.
  if (all[0] !== undefined && all.length === 1 && unasked.length === 0) {
    return { kind: 'known', choice: all[0], source: 'only' };
  }
  return hosts.length === 1 && unasked[0] !== undefined
    ? { kind: 'onHost', host: unasked[0].id }
    : { kind: 'unknown' };
}

/** How a workspace and the folder of a window are joined; null when they are not. */
export function relate(folder: WindowFolder, hostId: string, workspace: Workspace): Relation | null {
  const { place, path } = folder;
  if (place.kind === 'container') {
    const runsElsewhere = place.on !== null && !isSameHost(place.on, parseHostEntry(hostId));
    return !runsElsewhere && isContainerOf(workspace, place.names, place.hostPath) ? 'inside' : null;
  }
  if (place.kind !== 'ssh') return null;
  if (place.host === workspace.engine.container) return 'inside';
  if (!isSameHost(place, parseHostEntry(hostId)) || path === null) return null;
  return holds(workspace, path) ? 'hostFiles' : null;
}

/** The host that a window's own remote is, or runs its container on. */
export function findHostOf<H extends { readonly id: string }>(
  place: FolderPlace,
  hosts: readonly H[],
): H | undefined {
  const target = place.kind === 'ssh' ? place : place.kind === 'container' ? place.on : null;
  return target === null ? undefined : hosts.find((host) => isSameHost(target, parseHostEntry(host.id)));
}

/** The host of a Remote - SSH window as a settings entry would spell it; null for other windows. */
export function ownHostOf(place: FolderPlace): string | null {
  if (place.kind !== 'ssh') return null;
  const host = place.port !== null && place.host.includes(':') ? `[${place.host}]` : place.host;
  return `${place.user === null ? '' : `${place.user}@`}${host}${place.port === null ? '' : `:${String(place.port)}`}`;
}

/** Names a workspace as a choice. */
export function choiceOf(host: string, workspace: Workspace): WorkspaceChoice {
  return { host, workspace: workspace.id, name: workspace.name };
}

function isStillThere(choice: WorkspaceChoice, hosts: readonly KnownHost[]): boolean {
  const host = hosts.find(({ id }) => id === choice.host);
  if (host === undefined) return false;
  return host.workspaces === null || host.workspaces.some(({ id }) => id === choice.workspace);
}

function findByFolder(folder: WindowFolder, hosts: readonly KnownHost[]): WorkspaceChoice | null {
  const found = hosts.flatMap((host) =>
    (host.workspaces ?? [])
      .filter((workspace) => relate(folder, host.id, workspace) !== null)
      .map((workspace) => choiceOf(host.id, workspace)),
  );
  // A container's name may exist on two hosts: then the folder doesn't tell.
  return found.length === 1 && found[0] !== undefined ? found[0] : null;
}

function isContainerOf(workspace: Workspace, names: readonly string[], hostPath: string | null): boolean {
  const { container, id } = workspace.engine;
  const isNamed = names.some(
    // An id may be cut short, as `podman ps` shows it.
    (name) => name === container || name === workspace.name || (name.length >= 12 && id.startsWith(name)),
  );
  return isNamed || (hostPath !== null && holds(workspace, hostPath));
}

function holds(workspace: Workspace, path: string): boolean {
  return [workspace.rootfs, ...workspace.volumes.map((volume) => volume.hostPath)].some(
    (root) => path === root || path.startsWith(`${root.replace(/\/$/, '')}/`),
  );
}
