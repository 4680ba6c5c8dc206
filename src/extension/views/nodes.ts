import type { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import type { HostProblem } from '../hosts/problems.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import { nestedForks, projectsOf, topWorkspaces } from '../model/forks.ts';
import type { TimelineRow } from '../model/lineage.ts';
import type { Forward } from '../ports/forwards.ts';

export interface HostNode {
  readonly kind: 'host';
  readonly id: string;
  readonly parent: null;
  readonly host: Host;
}

/** The workspaces of one project. */
export interface ProjectNode {
  readonly kind: 'project';
  readonly id: string;
  readonly parent: HostNode;
  readonly host: Host;
  readonly project: string;
  readonly workspaces: readonly Workspace[];
  /** All workspaces of the host that stand for themselves are in it. */
  readonly isOnly: boolean;
}

export interface WorkspaceNode {
  readonly kind: 'workspace';
  readonly id: string;
  /** A fork stands below the snapshot that it began as, or below its origin when that snapshot is gone. */
  readonly parent: HostNode | ProjectNode | SnapshotNode | WorkspaceNode;
  readonly host: Host;
  readonly workspace: Workspace;
  /** There is no other on this host. */
  readonly isOnly: boolean;
}

export interface SnapshotNode {
  readonly kind: 'snapshot';
  readonly id: string;
  readonly parent: WorkspaceNode | BranchNode | SafetyNode;
  readonly host: Host;
  readonly workspace: Workspace;
  readonly snapshot: SnapshotSummary;
  /** "Restore Last Snapshot" aims at it. */
  readonly isCurrent: boolean;
  /** The forks that began as it and are shown below it. */
  readonly forks: readonly Workspace[];
}

/** A side branch, at its fork point. */
export interface BranchNode {
  readonly kind: 'branch';
  readonly id: string;
  readonly parent: WorkspaceNode | BranchNode;
  readonly host: Host;
  readonly workspace: Workspace;
  readonly row: Extract<TimelineRow, { kind: 'branch' }>;
}

/** All safety snapshots of a workspace. */
export interface SafetyNode {
  readonly kind: 'safety';
  readonly id: string;
  readonly parent: WorkspaceNode;
  readonly host: Host;
  readonly workspace: Workspace;
  readonly snapshots: readonly SnapshotSummary[];
}

/** A port of a workspace that a port of this machine leads to. */
export interface ForwardNode {
  readonly kind: 'forward';
  readonly id: string;
  readonly parent: WorkspaceNode;
  readonly host: Host;
  readonly workspace: Workspace;
  readonly forward: Forward;
}

/** Stands for the rows that are not shown yet. */
export interface OlderNode {
  readonly kind: 'older';
  readonly id: string;
  readonly parent: WorkspaceNode;
  readonly host: Host;
  readonly workspace: Workspace;
  readonly count: number;
}

/** Says why there is nothing (else), and what to do. */
export interface MessageNode {
  readonly kind: 'message';
  readonly id: string;
  readonly parent: HostNode | WorkspaceNode;
  readonly host: Host;
  readonly message: Message;
}

export type Message =
  | {
      readonly kind: 'disconnected' | 'connecting' | 'loading' | 'needsPool' | 'noWorkspaces' | 'noSnapshots';
    }
  | { readonly kind: 'failed'; readonly problem: HostProblem; readonly retryAt: number | null }
  | { readonly kind: 'needsSetup'; readonly problem: HostProblem }
  | { readonly kind: 'loadFailed'; readonly error: ForkpointError };

/** A row of the Snapshots view. */
export type Node =
  | HostNode
  | ProjectNode
  | WorkspaceNode
  | SnapshotNode
  | BranchNode
  | SafetyNode
  | OlderNode
  | MessageNode
  | ForwardNode;

/** How many rows of a workspace are shown at first, and more at each "Show older". */
export const ROWS_SHOWN = 50;

/** Shapes what is known of the hosts into the rows of the view. */
export class Nodes {
  private readonly shownRows = new Map<string, number>();

  constructor(
    private readonly fleet: Fleet,
    private readonly forwards: { of(host: string, workspace: WorkspaceId): readonly Forward[] },
  ) {}

  roots(): readonly HostNode[] {
    return this.fleet.hosts.map((host) => hostNode(host));
  }

  children(node: Node): readonly Node[] {
    switch (node.kind) {
      case 'host':
        return this.childrenOfHost(node);
      case 'project':
        return node.workspaces.map((workspace) =>
          workspaceNode(workspace, node, node.isOnly && node.workspaces.length === 1),
        );
      case 'workspace':
        return this.childrenOfWorkspace(node);
      case 'snapshot':
        return node.forks.map((fork) => workspaceNode(fork, node, false));
      case 'branch':
        return node.row.rows.map((row) => rowNode(row, node));
      case 'safety':
        return node.snapshots.map((snapshot) => snapshotNode(snapshot, node, false));
      default:
        return [];
    }
  }

  /** Shows more of a workspace's timeline. */
  showOlder(host: Host, workspace: WorkspaceId): void {
    const key = workspaceKey(host, workspace);
    this.shownRows.set(key, (this.shownRows.get(key) ?? ROWS_SHOWN) + ROWS_SHOWN);
  }

  /** The row of a snapshot, where it is among those shown. */
  find(host: Host, workspace: WorkspaceId, name: SnapshotName): SnapshotNode | undefined {
    const parent = this.findWorkspace(host, workspace);
    if (parent === undefined) return undefined;
    const search = (nodes: readonly Node[]): SnapshotNode | undefined => {
      for (const node of nodes) {
        if (node.kind === 'snapshot' && node.snapshot.name === name) return node;
        const found =
          node.kind === 'branch' || node.kind === 'safety' ? search(this.children(node)) : undefined;
        if (found !== undefined) return found;
      }
      return undefined;
    };
    return search(this.children(parent));
  }

  /** The row of a workspace, where it is among those shown. */
  findWorkspace(host: Host, workspace: WorkspaceId): WorkspaceNode | undefined {
    const isIt = (node: Node): node is WorkspaceNode =>
      node.kind === 'workspace' && node.workspace.id === workspace;
    const top = this.children(hostNode(host)).flatMap((node) =>
      node.kind === 'project' ? this.children(node) : [node],
    );
    const found = top.find(isIt);
    const origin = host.workspace(workspace)?.origin;
    if (found !== undefined || origin == null) return found;
    const at = this.find(host, origin.workspace, origin.snapshot);
    const parent = at ?? this.findWorkspace(host, origin.workspace);
    return parent === undefined ? undefined : this.children(parent).find(isIt);
  }

  private childrenOfHost(parent: HostNode): readonly Node[] {
    const { host } = parent;
    const { state, workspaces } = host;
    // A lost connection leaves in sight what was known, under a word about it.
    const top = workspaces.kind === 'ready' ? topWorkspaces(workspaces.value) : [];
    const known = [
      ...projectsOf(top).map((project) => projectNode(project, top, parent)),
      ...top
        .filter(({ project }) => project === null)
        .map((workspace) => workspaceNode(workspace, parent, top.length === 1)),
    ];
    const withKnown = (message: Message) => [messageNode(message, parent), ...known];
    switch (state.kind) {
      case 'disconnected':
        return [messageNode({ kind: 'disconnected' }, parent)];
      case 'connecting':
        return withKnown({ kind: 'connecting' });
      case 'needsSetup':
        return [messageNode({ kind: 'needsSetup', problem: state.problem }, parent)];
      case 'failed':
        return withKnown({ kind: 'failed', problem: state.problem, retryAt: state.retryAt });
      case 'connected':
        if (host.needsPool) return [messageNode({ kind: 'needsPool' }, parent)];
        if (workspaces.kind === 'loading') return [messageNode({ kind: 'loading' }, parent)];
        if (workspaces.kind === 'failed')
          return [messageNode({ kind: 'loadFailed', error: workspaces.error }, parent)];
        return known.length === 0 ? [messageNode({ kind: 'noWorkspaces' }, parent)] : known;
    }
  }

  private childrenOfWorkspace(parent: WorkspaceNode): readonly Node[] {
    const { host, workspace } = parent;
    const forwards = this.forwards.of(host.id, workspace.id);
    return [...forwards.map((forward) => forwardNode(forward, parent)), ...this.timelineOf(parent)];
  }

  private timelineOf(parent: WorkspaceNode): readonly Node[] {
    const { host, workspace } = parent;
    const timeline = host.timeline(workspace.id);
    if (timeline.kind === 'loading') {
      return host.state.kind === 'connected' ? [messageNode({ kind: 'loading' }, parent)] : [];
    }
    if (timeline.kind === 'failed')
      return [messageNode({ kind: 'loadFailed', error: timeline.error }, parent)];
    const { rows, safety, currentIndex } = timeline.value;
    if (rows.length === 0 && safety.length === 0) return [messageNode({ kind: 'noSnapshots' }, parent)];

    const wanted = this.shownRows.get(workspaceKey(host, workspace.id)) ?? ROWS_SHOWN;
    // Where the live workspace stands is always in sight.
    const shown = rows.slice(0, Math.max(wanted, currentIndex + 1));
    const listed = new Set(timeline.value.snapshots.map(({ name }) => name));
    const nodes: Node[] = forksOf(parent)
      .filter(({ origin }) => origin !== null && !listed.has(origin.snapshot))
      .map((fork) => workspaceNode(fork, parent, false));
    nodes.push(...shown.map((row) => rowNode(row, parent)));
    if (shown.length < rows.length) {
      nodes.push({
        kind: 'older',
        id: `${parent.id}/older`,
        parent,
        host,
        workspace,
        count: rows
          .slice(shown.length)
          .reduce((sum, row) => sum + (row.kind === 'branch' ? row.count : 1), 0),
      });
    }
    if (safety.length > 0) {
      nodes.push({ kind: 'safety', id: `${parent.id}/safety`, parent, host, workspace, snapshots: safety });
    }
    return nodes;
  }
}

function hostNode(host: Host): HostNode {
  return { kind: 'host', id: `host/${host.id}`, parent: null, host };
}

function projectNode(project: string, workspaces: readonly Workspace[], parent: HostNode): ProjectNode {
  return {
    kind: 'project',
    id: `${parent.id}/project/${project}`,
    parent,
    host: parent.host,
    project,
    workspaces: workspaces.filter((workspace) => workspace.project === project),
    isOnly: workspaces.every((workspace) => workspace.project === project),
  };
}

function workspaceNode(
  workspace: Workspace,
  parent: WorkspaceNode['parent'],
  isOnly: boolean,
): WorkspaceNode {
  const { host } = parent;
  // The same wherever it stands: a selection stays on it when it gets a project.
  return { kind: 'workspace', id: workspaceNodeId({ host, workspace }), parent, host, workspace, isOnly };
}

/** The forks of a workspace that stand below its rows. */
function forksOf({
  host,
  workspace,
}: {
  readonly host: Host;
  readonly workspace: Workspace;
}): readonly Workspace[] {
  return host.workspaces.kind === 'ready' ? nestedForks(workspace.id, host.workspaces.value) : [];
}

function rowNode(row: TimelineRow, parent: WorkspaceNode | BranchNode): SnapshotNode | BranchNode {
  if (row.kind === 'snapshot') return snapshotNode(row.snapshot, parent, row.isCurrent);
  const { host, workspace } = parent;
  return {
    kind: 'branch',
    id: `${workspaceNodeId(parent)}/branch/${row.first.name}`,
    parent,
    host,
    workspace,
    row,
  };
}

function snapshotNode(
  snapshot: SnapshotSummary,
  parent: WorkspaceNode | BranchNode | SafetyNode,
  isCurrent: boolean,
): SnapshotNode {
  const { host, workspace } = parent;
  // The id is the same wherever the snapshot stands: a selection stays on it when its line becomes a branch.
  return {
    kind: 'snapshot',
    id: `${workspaceNodeId(parent)}/${snapshot.name}`,
    parent,
    host,
    workspace,
    snapshot,
    isCurrent,
    forks: forksOf(parent).filter(({ origin }) => origin?.snapshot === snapshot.name),
  };
}

function forwardNode(forward: Forward, parent: WorkspaceNode): ForwardNode {
  const { host, workspace } = parent;
  return {
    kind: 'forward',
    id: `${parent.id}/port/${String(forward.port)}`,
    parent,
    host,
    workspace,
    forward,
  };
}

function messageNode(message: Message, parent: HostNode | WorkspaceNode): MessageNode {
  return { kind: 'message', id: `${parent.id}/message`, parent, host: parent.host, message };
}

function workspaceNodeId(node: { readonly host: Host; readonly workspace: Workspace }): string {
  return `host/${node.host.id}/${node.workspace.id}`;
}

function workspaceKey(host: Host, workspace: WorkspaceId): string {
  return `${host.id}/${workspace}`;
}
