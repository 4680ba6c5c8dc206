import { l10n, ThemeIcon, window } from 'vscode';
import type { QuickPickItem } from 'vscode';
import { projectsOf } from '../model/forks.ts';
import { showFailure } from '../views/failures.ts';
import { askForName } from './asking.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import type { WorkspaceTarget } from './target.ts';

/** Set Project…: sets, changes or clears the project of a workspace, by which the view groups. */
export function setProject(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Set Project'));
    if (at === undefined) return;
    const { host, workspace } = at;
    const project = await askForProject(at);
    if (project === undefined || project === workspace.project) return;
    const outcome = await parts.operations.run(
      l10n.t('Setting the project of "{0}"', workspace.name),
      (context) =>
        host.connection.request('containers/project', { container: workspace.id, project }, context),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  };
}

/** Null: none. Undefined for Cancel. */
async function askForProject({ host, workspace }: WorkspaceTarget): Promise<string | null | undefined> {
  const title = l10n.t('Project of "{0}"', workspace.name);
  const known = host.workspaces.kind === 'ready' ? projectsOf(host.workspaces.value) : [];
  const other = { label: l10n.t('New project…'), iconPath: new ThemeIcon('add'), project: null };
  const items: (QuickPickItem & { readonly project: string | null })[] = [
    ...known.map((project) => ({
      label: project,
      description: project === workspace.project ? l10n.t('its project now') : '',
      iconPath: new ThemeIcon('folder-library'),
      project,
    })),
    other,
    { label: l10n.t('No project'), iconPath: new ThemeIcon('circle-slash'), project: null },
  ];
  const picked = await window.showQuickPick(items, {
    title,
    placeHolder: l10n.t('Workspaces of one project stand together in the view'),
  });
  if (picked === undefined) return undefined;
  return picked === other
    ? askForName({ title, prompt: l10n.t('Name of the project'), mayBeEmpty: false })
    : picked.project;
}
