import { l10n, window } from 'vscode';
import { stateText, workspaceIcon } from '../views/rows.ts';
import { ensureConnected } from './connecting.ts';
import type { Parts } from './parts.ts';
import { pickHost } from './pick.ts';
import { workspaceOf } from './target.ts';
import type { WorkspaceTarget } from './target.ts';

/** The fork that a command was called on, or one that the user picks. Undefined for Cancel, and where there is none. */
export async function pickFork(
  parts: Parts,
  target: unknown,
  title: string,
): Promise<WorkspaceTarget | undefined> {
  const called = workspaceOf(parts.fleet, target);
  if (called?.workspace.origin != null)
    return (await ensureConnected(parts, called.host)) ? called : undefined;

  if (!parts.fleet.hosts.some(({ state }) => state.kind === 'connected')) {
    const host = await pickHost(parts, target, title);
    if (host === undefined || !(await ensureConnected(parts, host))) return undefined;
  }
  const items = parts.fleet.hosts.flatMap((host) =>
    (host.workspaces.kind === 'ready' ? host.workspaces.value : [])
      .filter(({ origin }) => origin !== null)
      .map((workspace) => ({
        label: workspace.name,
        description: [
          l10n.t('fork of {0}', workspace.origin?.name ?? ''),
          stateText(workspace),
          host.id,
        ].join(' · '),
        iconPath: workspaceIcon(workspace),
        target: { host, workspace },
      })),
  );
  if (items.length === 0) {
    void window.showInformationMessage(l10n.t('There is no fork. "Fork…" makes one.'));
    return undefined;
  }
  const picked = await window.showQuickPick(items, {
    title,
    placeHolder: l10n.t('Choose a fork'),
    matchOnDescription: true,
  });
  return picked?.target;
}
