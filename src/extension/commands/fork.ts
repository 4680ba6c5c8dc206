import { l10n, ThemeIcon, window } from 'vscode';
import type { QuickPickItem } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Fork, ParamsInput } from '../../protocol/operations.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import { hostText } from '../hosts/hostText.ts';
import { showFailure } from '../views/failures.ts';
import { counted, elapsedText } from '../views/measures.ts';
import { snapshotIcon } from '../views/rows.ts';
import { snapshotDescription, snapshotLabel } from '../views/snapshotText.ts';
import { askForName } from './asking.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { saveEditors } from './takingSnapshot.ts';
import { pointedSnapshot, projectOf, snapshotsOf, workspaceOf } from './target.ts';
import type { WorkspaceTarget } from './target.ts';

/** Where forks begin. */
interface Start extends WorkspaceTarget {
  /** Null: now, at a snapshot that is taken for it. */
  readonly snapshot: SnapshotSummary | null;
}

/** Fork…: makes independent workspaces from a snapshot, or from now, side by side. */
export function fork(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const start = await findStart(parts, target, selection);
    if (start === undefined) return;
    const { workspace, snapshot } = start;
    const title =
      snapshot === null
        ? l10n.t('Fork "{0}" as it is now', workspace.name)
        : l10n.t('Fork "{0}" from "{1}"', workspace.name, snapshotLabel(snapshot));
    const name = await askForName({
      title,
      prompt: l10n.t('Name of the fork. Several are called NAME-1, NAME-2 and so on.'),
      value: freeName(start),
      mayBeEmpty: false,
    });
    if (name === undefined) return;
    const count = await askForCount(title);
    if (count === undefined) return;
    if (snapshot === null) await saveEditors(parts);
    const project = projectOf(target);
    await makeForks(parts, start, {
      name,
      count,
      ...(snapshot === null ? {} : { snapshot: snapshot.name }),
      ...(project === undefined ? {} : { targetProject: project }),
    });
  };
}

/** What the command was called on; else "now" or a snapshot of the current workspace, as the user picks. */
async function findStart(parts: Parts, target: unknown, selection: unknown): Promise<Start | undefined> {
  const called = snapshotsOf(target, selection)[0] ?? (await pointedSnapshot(parts.fleet, target));
  if (called !== undefined) return called;
  const isCalledOnWorkspace = workspaceOf(parts.fleet, target) !== undefined;
  const at = await currentWorkspace(parts, target, l10n.t('Fork'));
  if (at === undefined) return undefined;
  return isCalledOnWorkspace ? { ...at, snapshot: null } : pickStart(parts, at);
}

async function pickStart(parts: Parts, at: WorkspaceTarget): Promise<Start | undefined> {
  const { host, workspace } = at;
  const outcome = await parts.operations.run(l10n.t('Reading the snapshots of "{0}"', workspace.name), () =>
    host.snapshots(workspace.id),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  if (outcome.kind !== 'done') return undefined;
  const now = Date.now();
  const items: (QuickPickItem & { readonly snapshot: SnapshotSummary | null })[] = [
    {
      label: l10n.t('Now'),
      description: l10n.t('a snapshot is taken first'),
      iconPath: new ThemeIcon('device-camera'),
      snapshot: null,
    },
    ...outcome.value.map((snapshot) => ({
      label: snapshotLabel(snapshot),
      description: snapshotDescription(l10n, snapshot, snapshot.isHead, now),
      iconPath: snapshotIcon(snapshot, snapshot.isHead),
      snapshot,
    })),
  ];
  const picked = await window.showQuickPick(items, {
    title: l10n.t('Fork "{0}"', workspace.name),
    placeHolder: l10n.t('Choose where the fork begins'),
    matchOnDescription: true,
  });
  return picked === undefined ? undefined : { ...at, snapshot: picked.snapshot };
}

async function askForCount(title: string): Promise<number | undefined> {
  const { MAXIMUM_FORKS } = await import('../../protocol/operations.ts');
  const text = await window.showInputBox({
    title,
    prompt: l10n.t('How many forks, side by side?'),
    value: '1',
    ignoreFocusOut: true,
    validateInput: (input) =>
      /^\d+$/.test(input.trim()) && Number(input) >= 1 && Number(input) <= MAXIMUM_FORKS
        ? undefined
        : l10n.t('Give a number from 1 to {0}.', MAXIMUM_FORKS),
  });
  return text === undefined ? undefined : Number(text);
}

async function makeForks(
  parts: Parts,
  { host, workspace }: Start,
  params: Omit<ParamsInput<'containers/copy'>, 'container'>,
): Promise<void> {
  const outcome = await parts.operations.run(
    counted(params.count ?? 1, l10n.t('Forking "{0}"', workspace.name), (count) =>
      l10n.t('Forking "{0}" {1} times', workspace.name, count),
    ),
    (context) => host.connection.request('containers/copy', { container: workspace.id, ...params }, context),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  if (outcome.kind !== 'done') return;
  await host.refresh();
  const made = outcome.value.filter(({ ok }) => ok);
  for (const { name, timing } of made) {
    parts.log.info(
      `"${name}": ${timing.map(({ step, ms }) => `${step} ${String(Math.round(ms))} ms`).join(', ')}`,
    );
  }
  tell(made, outcome.ms);
  for (const { name, error } of outcome.value.filter(({ ok }) => !ok)) {
    parts.log.error(
      `"${name}" could not be made: ${error === null ? '' : `[${error.code}] ${error.detail ?? ''}`}`,
    );
    if (error !== null)
      showFailure(new ForkpointError(error.code, error.args, { detail: error.detail }), {
        host: host.id,
        workspace: workspace.id,
      });
  }
  const first = made[0]?.workspace;
  if (first != null) await parts.tree.revealWorkspace(host, first.id);
}

/** Says what was made; aloud where something of it is not as wanted. */
function tell(made: readonly Fork[], ms: number): void {
  if (made.length === 0) return;
  const names = made.map(({ name }) => `"${name}"`).join(', ');
  window.setStatusBarMessage(
    `$(repo-forked) ${counted(made.length, l10n.t('Made the fork {0} in {1}', names, elapsedText(ms)), () =>
      l10n.t('Made the forks {0} in {1}', names, elapsedText(ms)),
    )}`,
    6000,
  );
  for (const { name, hookFailure } of made) {
    if (hookFailure === null) continue;
    void window.showWarningMessage(
      l10n.t(
        'The fork "{0}" runs, but its hook /etc/forkpoint/on-fork failed: {1}',
        name,
        hostText(hookFailure),
      ),
    );
  }
}

/** A name that no workspace of the host has. */
function freeName({ host, workspace }: Start): string {
  const taken = new Set(
    host.workspaces.kind === 'ready' ? host.workspaces.value.map(({ name }) => name) : [],
  );
  const base = `${workspace.name.slice(0, 50)}-fork`;
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base}${String(number)}`;
    if (![...taken].some((other) => other === name || other.startsWith(`${name}-`))) return name;
  }
}
