import { l10n, ThemeColor, ThemeIcon, TreeItem, TreeItemCollapsibleState } from 'vscode';
import type { Command } from 'vscode';
import type { CommandId } from '../commands/registry.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import type { Origin, Workspace } from '../../protocol/workspace.ts';
import { visible } from '../../protocol/visible.ts';
import type { HostProblem } from '../hosts/problems.ts';
import { failureText, fixCommand } from './failures.ts';
import { ageText, counted, elapsedText, sizeText } from './measures.ts';
import type {
  BranchNode,
  ForwardNode,
  HostNode,
  Message,
  MessageNode,
  Node,
  OlderNode,
  ProjectNode,
  SafetyNode,
  SnapshotNode,
  WorkspaceNode,
} from './nodes.ts';
import {
  filesText,
  snapshotDescription,
  snapshotLabel,
  snapshotSpokenText,
  totalOf,
} from './snapshotText.ts';

/** More published ports than this are counted, not named. */
const PORTS_NAMED = 2;

/** Draws a row. Its tooltip comes when it is asked for. */
export function drawRow(node: Node, now: number): TreeItem {
  const item = draw(node, now);
  item.id = node.id;
  return item;
}

function draw(node: Node, now: number): TreeItem {
  switch (node.kind) {
    case 'host':
      return drawHost(node);
    case 'project':
      return drawProject(node);
    case 'workspace':
      return drawWorkspace(node, now);
    case 'snapshot':
      return drawSnapshot(node, now);
    case 'branch':
      return drawBranch(node, now);
    case 'safety':
      return drawSafety(node);
    case 'forward':
      return drawForward(node);
    case 'older':
      return drawOlder(node);
    case 'message':
      return drawMessage(node);
  }
}

function drawHost({ host }: HostNode): TreeItem {
  // Open from the start: its one child says what to do where there is no connection.
  const item = new TreeItem(host.id, TreeItemCollapsibleState.Expanded);
  const { state } = host;
  item.contextValue = `host ${state.kind}${host.needsPool ? ' needsPool' : ''}`;
  switch (state.kind) {
    case 'connected':
      item.iconPath = new ThemeIcon('vm-active');
      if (host.needsPool) item.description = l10n.t('needs set-up');
      if (host.info?.pool?.isLow === true) {
        item.description = l10n.t('{0} left in the pool', sizeText(host.info.pool.freeBytes));
        item.iconPath = new ThemeIcon('vm-active', new ThemeColor('list.warningForeground'));
      }
      break;
    case 'connecting':
      item.iconPath = new ThemeIcon('loading~spin');
      item.description = l10n.t('connecting');
      break;
    case 'disconnected':
      item.iconPath = new ThemeIcon('vm-outline');
      item.description = l10n.t('not connected');
      break;
    case 'needsSetup':
      item.iconPath = new ThemeIcon('vm-outline');
      item.description = l10n.t('needs set-up');
      break;
    case 'failed':
      item.iconPath = new ThemeIcon('vm-outline', new ThemeColor('list.errorForeground'));
      item.description = l10n.t('not connected');
      break;
  }
  item.accessibilityInformation = { label: spoken(l10n.t('Host {0}', host.id), item.description) };
  return item;
}

function drawProject({ project, workspaces }: ProjectNode): TreeItem {
  const item = new TreeItem(project, TreeItemCollapsibleState.Expanded);
  item.contextValue = 'project';
  item.iconPath = new ThemeIcon('folder-library');
  item.description = counted(workspaces.length, l10n.t('1 workspace'), (n) => l10n.t('{0} workspaces', n));
  item.accessibilityInformation = { label: spoken(l10n.t('Project {0}', project), item.description) };
  return item;
}

function drawWorkspace(node: WorkspaceNode, now: number): TreeItem {
  const { workspace, isOnly } = node;
  const { origin } = workspace;
  const item = new TreeItem(
    workspace.name,
    isOnly ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.Collapsed,
  );
  item.contextValue = [
    'workspace',
    workspace.state,
    origin === null ? 'original' : 'fork',
    workspace.undo === null ? '' : 'undoable',
  ]
    .join(' ')
    .trim();
  item.iconPath = workspaceIcon(workspace);
  item.description = (
    origin === null
      ? [stateText(workspace), ...setbackFacts(workspace), countText(workspace)]
      : forkFacts(node, origin, now)
  ).join(' · ');
  const name = origin === null ? l10n.t('Workspace {0}', workspace.name) : l10n.t('Fork {0}', workspace.name);
  item.accessibilityInformation = { label: spoken(name, item.description) };
  item.tooltip = [
    `${workspace.name} · ${stateText(workspace)}`,
    ...stateExplanation(workspace),
    workspace.head === null
      ? l10n.t('No snapshot yet')
      : l10n.t(
          'Current snapshot: {0}, {1}',
          workspace.headAlias ?? workspace.head,
          workspace.headCreatedAt === null ? '' : ageText(l10n, workspace.headCreatedAt, now),
        ),
    ...(origin === null ? [] : [l10n.t('Fork of "{0}" at {1}', origin.name, origin.snapshot)]),
    ...(workspace.project === null ? [] : [l10n.t('Project: {0}', workspace.project)]),
    l10n.t('Container: {0}', visible(workspace.engine.container)),
    l10n.t('Address: {0}', workspace.address),
    ...workspace.published.map((port) =>
      l10n.t('Port {0} is {1} on the host', port.containerPort, `${port.ip}:${String(port.hostPort)}`),
    ),
    ...workspace.volumes.map((volume) => l10n.t('Volume {0} at {1}', volume.name, visible(volume.path))),
    l10n.t('Files on the host: {0}', visible(workspace.rootfs)),
  ].join('\n');
  return item;
}

/** The words beside a fork: "running · 8081→80 · 3 minutes ago · 12 files". */
function forkFacts({ host, workspace, parent }: WorkspaceNode, origin: Origin, now: number): string[] {
  const { published } = workspace;
  const changes = host.changesOf(workspace.id);
  return [
    stateText(workspace),
    ...setbackFacts(workspace),
    parent.kind === 'host' || parent.kind === 'project' ? l10n.t('fork of {0}', origin.name) : '',
    published.length > PORTS_NAMED
      ? l10n.t('{0} ports', published.length)
      : published
          .map(({ hostPort, containerPort }) => `${String(hostPort)}→${String(containerPort)}`)
          .join(' '),
    ageText(l10n, origin.at, now),
    changes === null ? '' : filesText(l10n, totalOf(changes.files)),
  ].filter((fact) => fact !== '');
}

function drawSnapshot({ snapshot, workspace, isCurrent, forks }: SnapshotNode, now: number): TreeItem {
  const item = new TreeItem(
    snapshotLabel(snapshot),
    // Open from the start: what runs should be in sight.
    forks.length === 0 ? TreeItemCollapsibleState.None : TreeItemCollapsibleState.Expanded,
  );
  item.contextValue = `snapshot ${snapshot.kind} ${snapshot.protected ? 'protected' : 'unprotected'}`;
  item.iconPath = snapshotIcon(snapshot, isCurrent);
  item.description = snapshotDescription(l10n, snapshot, isCurrent, now);
  if (workspace.undo?.safety === snapshot.name)
    item.description = l10n.t('{0} · used by Undo', item.description);
  item.accessibilityInformation = { label: snapshotSpokenText(l10n, snapshot, isCurrent, now) };
  return item;
}

function drawBranch({ row }: BranchNode, now: number): TreeItem {
  const item = new TreeItem(snapshotLabel(row.tip), TreeItemCollapsibleState.Collapsed);
  item.contextValue = 'branch';
  item.iconPath = new ThemeIcon('git-branch');
  item.description = [
    counted(row.count, l10n.t('branch of 1 snapshot'), (n) => l10n.t('branch of {0} snapshots', n)),
    ageText(l10n, row.tip.createdAt, now),
  ].join(' · ');
  item.accessibilityInformation = { label: spoken(snapshotLabel(row.tip), item.description) };
  return item;
}

function drawSafety({ snapshots }: SafetyNode): TreeItem {
  const item = new TreeItem(l10n.t('Safety snapshots'), TreeItemCollapsibleState.Collapsed);
  item.contextValue = 'safety';
  item.iconPath = new ThemeIcon('shield');
  item.description = String(snapshots.length);
  item.tooltip = l10n.t(
    'What restores kept of the state before them. The newest 3 and those of the last day are kept.',
  );
  return item;
}

function drawForward({ forward }: ForwardNode): TreeItem {
  const item = new TreeItem(l10n.t('Port {0}', forward.port), TreeItemCollapsibleState.None);
  item.contextValue = 'forward';
  item.iconPath = new ThemeIcon('radio-tower');
  item.description = `localhost:${String(forward.localPort)}`;
  item.tooltip = l10n.t(
    'Port {0} of the workspace is localhost:{1} on this machine.',
    forward.port,
    forward.localPort,
  );
  item.accessibilityInformation = { label: spoken(l10n.t('Port {0}', forward.port), item.description) };
  return item;
}

function drawOlder(node: OlderNode): TreeItem {
  const item = new TreeItem(l10n.t('Show older'), TreeItemCollapsibleState.None);
  item.iconPath = new ThemeIcon('ellipsis');
  item.description = counted(node.count, l10n.t('1 more'), (n) => l10n.t('{0} more', n));
  item.contextValue = 'older';
  item.command = openRow(l10n.t('Show older'));
  return item;
}

function drawMessage(node: MessageNode): TreeItem {
  const { label, description, icon, command, tooltip } = describeMessage(node.message, Date.now());
  const item = new TreeItem(label, TreeItemCollapsibleState.None);
  item.description = description ?? '';
  item.iconPath = new ThemeIcon(icon);
  item.tooltip = tooltip ?? label;
  item.contextValue = 'message';
  if (command !== null) {
    item.command = openRow(label);
    item.accessibilityInformation = { label: spoken(label, item.description), role: 'button' };
  }
  return item;
}

/**
 * The editor forgets the arguments of a row's command with the row, and shows a click on it as an error then ("Actual
 * command NOT FOUND", its extHostCommands.ts); so there are none, and the command looks what is selected.
 */
function openRow(title: string): Command {
  return { command: 'forkpoint.openRow' satisfies CommandId, title };
}

/** What a click on a row does; null where it does no more than select it. */
export function actionOf(node: Node): CommandId | null {
  switch (node.kind) {
    case 'older':
      return 'forkpoint.showOlder';
    case 'message':
      return describeMessage(node.message, Date.now()).command;
    default:
      return null;
  }
}

interface MessageDrawing {
  readonly label: string;
  readonly description?: string;
  readonly tooltip?: string;
  readonly icon: string;
  /** What happens when it is chosen. */
  readonly command: CommandId | null;
}

function describeMessage(message: Message, now: number): MessageDrawing {
  switch (message.kind) {
    case 'disconnected':
      return { label: l10n.t('Connect'), icon: 'plug', command: 'forkpoint.connect' };
    case 'connecting':
      return { label: l10n.t('Connecting…'), icon: 'loading~spin', command: null };
    case 'loading':
      return { label: l10n.t('Loading…'), icon: 'loading~spin', command: null };
    case 'needsPool':
      return {
        label: l10n.t('Set up this host'),
        description: l10n.t('no snapshot pool yet'),
        icon: 'tools',
        command: 'forkpoint.setUpHost',
      };
    case 'noWorkspaces':
      return {
        label: l10n.t('New workspace…'),
        description: l10n.t('none yet'),
        icon: 'add',
        command: 'forkpoint.newWorkspace',
      };
    case 'noSnapshots':
      return {
        label: l10n.t('Take the first snapshot…'),
        icon: 'device-camera',
        command: 'forkpoint.snapshotWorkspace',
      };
    case 'needsSetup': {
      const text = failureText(message.problem);
      return {
        label: l10n.t('Set up this host'),
        description: setupText(message.problem) ?? text.message,
        tooltip: `${text.message} ${text.next}`,
        icon: 'tools',
        command: 'forkpoint.setUpHost',
      };
    }
    case 'failed': {
      const text = failureText(message.problem);
      const { command, label } = fixCommand(text.fix);
      const retry =
        message.retryAt === null || message.retryAt <= now
          ? ''
          : l10n.t(' It is tried again in {0}.', elapsedText(message.retryAt - now));
      return {
        label: text.fix === 'connect' ? l10n.t('Connect again') : label,
        description: text.message,
        tooltip: `${text.message} ${text.next}${retry}`,
        icon: 'error',
        command,
      };
    }
    case 'loadFailed': {
      const text = failureText(message.error);
      return {
        label: l10n.t('Try again'),
        description: text.message,
        tooltip: `${text.message} ${text.next}`,
        icon: 'error',
        command: 'forkpoint.refresh',
      };
    }
  }
}

/** Why a host needs its set-up, where that fits into the row; null where the whole text is needed. */
function setupText({ code }: HostProblem): string | null {
  if (code === 'helperNotInstalled') return l10n.t('no helper yet');
  return code === 'helperOlder' ? l10n.t('helper too old') : null;
}

/** Shape tells the kind, fill tells whether the processes are in it; words beside it say the same. */
export function snapshotIcon(
  snapshot: Pick<SnapshotSummary, 'kind' | 'stateful' | 'protected'>,
  isCurrent: boolean,
): ThemeIcon {
  const colour = isCurrent ? 'charts.green' : snapshot.protected ? 'charts.yellow' : null;
  return new ThemeIcon(iconName(snapshot), colour === null ? undefined : new ThemeColor(colour));
}

function iconName(snapshot: Pick<SnapshotSummary, 'kind' | 'stateful' | 'protected'>): string {
  if (snapshot.kind === 'safety') return 'shield';
  if (snapshot.protected) return 'lock';
  if (snapshot.kind === 'before-ai') return snapshot.stateful ? 'sparkle-filled' : 'sparkle';
  if (snapshot.kind === 'scheduled') return 'calendar';
  return snapshot.stateful ? 'circle-filled' : 'circle-outline';
}

/** A shape of its own, for in a light theme the colour alone is hard to tell from that of what runs. */
const trouble = new ThemeIcon('warning', new ThemeColor('list.warningForeground'));

export function workspaceIcon(workspace: Workspace): ThemeIcon {
  if (workspace.operation !== null) return new ThemeIcon('sync~spin');
  const shape = workspace.origin === null ? 'package' : 'repo-forked';
  if (workspace.setback !== null) return trouble;
  switch (workspace.state) {
    case 'running':
      return new ThemeIcon(shape, new ThemeColor('charts.green'));
    case 'frozen':
      return new ThemeIcon(shape, new ThemeColor('charts.blue'));
    case 'stopped':
      return new ThemeIcon(shape);
    case 'missing':
      return trouble;
  }
}

/** "running", "stopped" and so on. */
export function stateText(workspace: Workspace): string {
  const work = workText(workspace);
  if (work !== null) return work;
  switch (workspace.state) {
    case 'running':
      return l10n.t('running');
    case 'stopped':
      return l10n.t('stopped');
    case 'frozen':
      return l10n.t('frozen');
    case 'missing':
      return l10n.t('container missing');
  }
}

/** What is under way, where that says more than the state that it has put the container into for a moment. */
function workText({ state, operation, origin, head }: Workspace): string | null {
  if (state === 'running') return null;
  if (operation === 'containers/promote') return l10n.t('being promoted');
  // A fork is what is made; what it is made from stands still at most.
  const isMade = operation === 'containers/copy' && origin !== null && head === null && state !== 'frozen';
  return isMade ? l10n.t('being made') : null;
}

/** The words beside a workspace that something happened to while nobody waited. */
function setbackFacts({ setback }: Workspace): string[] {
  return setback === null ? [] : [l10n.t('restore failed')];
}

/** What a state means that a user doesn't often see, and what to do about it. */
function stateExplanation({ state, operation, setback }: Workspace): string[] {
  if (operation !== null) return [];
  if (setback !== null) {
    const { message, next } = failureText(ForkpointError.from(setback));
    return [`${message} ${next}`];
  }
  if (state === 'missing')
    return [l10n.t("Podman doesn't know its container any more. Start the workspace to have it made again.")];
  if (state === 'frozen')
    return [l10n.t('Its processes stand still. Stop and start the workspace, or restore it.')];
  return [];
}

function countText(workspace: Workspace): string {
  // The user's own: what restores took by themselves is counted where it is folded.
  const count = workspace.snapshotCount - workspace.safetyCount;
  return count === 0
    ? l10n.t('no snapshot')
    : counted(count, l10n.t('1 snapshot'), (n) => l10n.t('{0} snapshots', n));
}

function spoken(label: string, description: string | boolean | undefined): string {
  return typeof description === 'string' && description !== ''
    ? `${label}, ${description.replaceAll(' · ', ', ')}`
    : label;
}
