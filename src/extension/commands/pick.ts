import { commands, l10n, QuickPickItemKind, ThemeIcon, window } from 'vscode';
import type { QuickInputButton, QuickPickItem } from 'vscode';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import { choiceOf } from '../model/currentWorkspace.ts';
import type { Host } from '../model/host.ts';
import { showFailure } from '../views/failures.ts';
import { snapshotIcon, stateText, workspaceIcon } from '../views/rows.ts';
import { snapshotDescription, snapshotLabel } from '../views/snapshotText.ts';
import { ensureConnected } from './connecting.ts';
import type { Parts } from './parts.ts';
import type { CommandId } from './registry.ts';
import { hostOf, pointedSnapshot, snapshotsOf, workspaceOf } from './target.ts';
import type { SnapshotTarget, WorkspaceTarget } from './target.ts';

type PickParts = Pick<Parts, 'fleet' | 'current' | 'operations'>;

/** Where the user may choose another workspace than that of the window. */
const otherWorkspaceButton = (): QuickInputButton => ({
  iconPath: new ThemeIcon('arrow-swap'),
  tooltip: l10n.t('Another workspace…'),
});

/** The host that a command was called on, the only one, or the one that the user picks. Undefined for Cancel. */
export async function pickHost(
  { fleet }: Pick<Parts, 'fleet'>,
  target: unknown,
  title: string,
  isFit: (host: Host) => boolean = () => true,
): Promise<Host | undefined> {
  const called = hostOf(fleet, target);
  if (called !== undefined) return called;
  const fitting = fleet.hosts.filter(isFit);
  if (fleet.hosts.length === 0) {
    await offerAddHost();
    return undefined;
  }
  if (fitting.length === 0) {
    void window.showInformationMessage(l10n.t('There is no host for "{0}".', title));
    return undefined;
  }
  if (fitting.length === 1) return fitting[0];
  const items = fitting.map((host) => ({
    label: host.id,
    description: connectionText(host),
    iconPath: new ThemeIcon('vm'),
    host,
  }));
  return (await window.showQuickPick(items, { title, placeHolder: l10n.t('Choose a host') }))?.host;
}

/**
 * The workspace that a command was called on, else that of this window, connected and known. Undefined for Cancel,
 * and where a connection failed, which was told.
 */
export async function currentWorkspace(
  parts: PickParts,
  target: unknown,
  title: string,
): Promise<WorkspaceTarget | undefined> {
  const called = workspaceOf(parts.fleet, target);
  if (called !== undefined) return (await ensureConnected(parts, called.host)) ? called : undefined;

  const host = hostOf(parts.fleet, target);
  if (host !== undefined) return pickWorkspace(parts, title, host);

  // Asking the host may be all that is missing to know.
  const found = parts.current.current;
  const hostId =
    found.kind === 'known' ? found.choice.host : found.kind === 'onHost' ? found.host : undefined;
  const known = hostId === undefined ? undefined : parts.fleet.host(hostId);
  if (known !== undefined && !(await ensureConnected(parts, known))) return undefined;
  const current = parts.current.current;
  if (current.kind === 'known') {
    const at = parts.fleet.host(current.choice.host);
    const workspace = at?.workspace(current.choice.workspace);
    if (at !== undefined && workspace !== undefined) return { host: at, workspace };
  }
  const picked = await pickWorkspace(parts, title);
  if (picked !== undefined) await parts.current.choose(choiceOf(picked.host.id, picked.workspace));
  return picked;
}

/** Lets the user pick a workspace; hosts that aren't connected are offered too, and connected when picked. */
export async function pickWorkspace(
  parts: PickParts,
  title: string,
  only?: Host,
): Promise<WorkspaceTarget | undefined> {
  if (parts.fleet.hosts.length === 0) {
    await offerAddHost();
    return undefined;
  }
  const hosts = only === undefined ? parts.fleet.hosts : [only];
  for (;;) {
    const items = hosts.flatMap((host) => workspaceItems(parts, host));
    const choices = items.filter((item) => item.pick !== undefined);
    const single = choices.length === 1 ? choices[0] : undefined;
    // A host that is the only one is connected without a question in between.
    const picked =
      single?.pick?.kind === 'connect' || (single !== undefined && only !== undefined)
        ? single
        : await window.showQuickPick(items, {
            title,
            placeHolder: l10n.t('Choose a workspace'),
            matchOnDescription: true,
          });
    if (picked?.pick === undefined) return undefined;
    if (picked.pick.kind === 'workspace') return picked.pick.target;
    if (picked.pick.kind === 'run') {
      await commands.executeCommand(picked.pick.command, { pointsTo: { host: picked.pick.host.id } });
      return undefined;
    }
    if (!(await ensureConnected(parts, picked.pick.host))) return undefined;
  }
}

interface WorkspaceItem extends QuickPickItem {
  readonly pick?:
    | { readonly kind: 'workspace'; readonly target: WorkspaceTarget }
    | { readonly kind: 'connect'; readonly host: Host }
    | { readonly kind: 'run'; readonly host: Host; readonly command: CommandId };
}

function workspaceItems({ current }: PickParts, host: Host): WorkspaceItem[] {
  const separator = { label: host.id, kind: QuickPickItemKind.Separator };
  if (host.state.kind !== 'connected' || host.workspaces.kind !== 'ready') {
    return [
      separator,
      {
        label: l10n.t('Connect to "{0}"', host.id),
        iconPath: new ThemeIcon('plug'),
        pick: { kind: 'connect', host },
      },
    ];
  }
  if (host.needsPool) {
    return [
      separator,
      {
        label: l10n.t('Set up "{0}"', host.id),
        iconPath: new ThemeIcon('tools'),
        pick: { kind: 'run', host, command: 'forkpoint.setUpHost' },
      },
    ];
  }
  if (host.workspaces.value.length === 0) {
    return [
      separator,
      {
        label: l10n.t('New workspace on "{0}"…', host.id),
        iconPath: new ThemeIcon('add'),
        pick: { kind: 'run', host, command: 'forkpoint.newWorkspace' },
      },
    ];
  }
  const found = current.current;
  const currentId = found.kind === 'known' ? found.choice.workspace : null;
  return [
    separator,
    ...host.workspaces.value.map((workspace) => ({
      label: workspace.name,
      description: [
        workspace.id === currentId ? l10n.t("this window's") : '',
        stateText(workspace),
        workspace.headAlias ?? workspace.head ?? l10n.t('no snapshot'),
      ]
        .filter((part) => part !== '')
        .join(' · '),
      iconPath: workspaceIcon(workspace),
      pick: { kind: 'workspace' as const, target: { host, workspace } },
    })),
  ];
}

export interface SnapshotQuestion {
  readonly title: string;
  readonly placeholder: string;
  /** Leaves out what the command can't work on. */
  readonly isFit?: (snapshot: SnapshotSummary) => boolean;
}

/** The snapshot that a command was called on, or the one that the user picks in the current workspace. */
export async function pickSnapshot(
  parts: PickParts,
  target: unknown,
  selection: unknown,
  question: SnapshotQuestion,
): Promise<SnapshotTarget | undefined> {
  const [called = await pointedSnapshot(parts.fleet, target)] = snapshotsOf(target, selection);
  if (called !== undefined) return called;
  return (await pickFromTimeline(parts, target, question, false))[0];
}

/** The snapshots that a command was called on, or those that the user picks in the current workspace. */
export async function pickSnapshots(
  parts: PickParts,
  target: unknown,
  selection: unknown,
  question: SnapshotQuestion,
): Promise<readonly SnapshotTarget[]> {
  const called = snapshotsOf(target, selection);
  const pointed = called.length > 0 ? undefined : await pointedSnapshot(parts.fleet, target);
  if (pointed !== undefined) return [pointed];
  return called.length > 0 ? called : pickFromTimeline(parts, target, question, true);
}

async function pickFromTimeline(
  parts: PickParts,
  target: unknown,
  question: SnapshotQuestion,
  isMany: boolean,
): Promise<readonly SnapshotTarget[]> {
  let at = await currentWorkspace(parts, target, question.title);
  for (;;) {
    if (at === undefined) return [];
    const answer = await askForSnapshots(parts, at, question, isMany);
    if (answer !== 'otherWorkspace') return answer;
    at = await pickWorkspace(parts, question.title);
  }
}

async function askForSnapshots(
  { fleet, operations }: PickParts,
  { host, workspace }: WorkspaceTarget,
  question: SnapshotQuestion,
  isMany: boolean,
): Promise<readonly SnapshotTarget[] | 'otherWorkspace'> {
  const outcome = await operations.run(l10n.t('Reading the snapshots of "{0}"', workspace.name), () =>
    host.snapshots(workspace.id),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  if (outcome.kind !== 'done') return [];
  const fitting = outcome.value.filter(question.isFit ?? (() => true));
  if (fitting.length === 0) {
    void window.showInformationMessage(
      outcome.value.length === 0
        ? l10n.t('Workspace "{0}" has no snapshot yet.', workspace.name)
        : l10n.t('Workspace "{0}" has no snapshot for this.', workspace.name),
    );
    return [];
  }
  const timeline = host.timeline(workspace.id);
  const current = timeline.kind === 'ready' ? timeline.value.current?.name : undefined;
  const now = Date.now();
  const items = fitting.map((snapshot) => ({
    label: snapshotLabel(snapshot),
    description: snapshotDescription(l10n, snapshot, snapshot.name === current, now),
    ...(snapshot.note === null ? {} : { detail: snapshot.note.replace(/\s+/g, ' ') }),
    iconPath: snapshotIcon(snapshot, snapshot.name === current),
    snapshot,
  }));

  const pick = window.createQuickPick<(typeof items)[number]>();
  pick.title = `${question.title} (${workspace.name})`;
  pick.placeholder = question.placeholder;
  pick.items = items;
  pick.canSelectMany = isMany;
  pick.matchOnDescription = true;
  pick.matchOnDetail = true;
  const hasOthers =
    fleet.hosts.length > 1 || (host.workspaces.kind === 'ready' && host.workspaces.value.length > 1);
  pick.buttons = hasOthers ? [otherWorkspaceButton()] : [];
  try {
    return await new Promise((resolve) => {
      pick.onDidTriggerButton(() => resolve('otherWorkspace'));
      pick.onDidAccept(() =>
        resolve(pick.selectedItems.map(({ snapshot }) => ({ host, workspace, snapshot }))),
      );
      pick.onDidHide(() => resolve([]));
      pick.show();
    });
  } finally {
    pick.dispose();
  }
}

async function offerAddHost(): Promise<void> {
  await commands.executeCommand('forkpoint.addHost' satisfies CommandId);
}

function connectionText(host: Host): string {
  switch (host.state.kind) {
    case 'connected':
      return l10n.t('connected');
    case 'connecting':
      return l10n.t('connecting');
    case 'needsSetup':
      return l10n.t('needs set-up');
    default:
      return l10n.t('not connected');
  }
}
