import { l10n, window, workspace as folders } from 'vscode';
import { fillAliasTemplate } from '../model/aliasTemplate.ts';
import { readBranch } from '../model/gitBranch.ts';
import type { Settings } from '../model/settings.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { saveEditors, takeSnapshot } from './takingSnapshot.ts';

/** Snapshot Before AI Edit: one keystroke, no questions where the workspace is known. */
export function snapshotBeforeAiEdit(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Snapshot Before AI Edit'));
    if (at === undefined) return;
    const { settings } = parts;
    await saveEditors(parts);
    const alias = fillAliasTemplate(settings.beforeAiAlias, {
      task: await findTask(settings),
      workspace: at.workspace.name,
      at: new Date(),
    });
    const expiry = settings.beforeAiExpiryDays;
    await takeSnapshot(parts, at, {
      alias,
      numbered: true,
      kind: 'before-ai',
      ...(expiry === null ? {} : { expiry }),
    });
  };
}

/** What is being worked on: the branch of the active file's folder, else the active file; empty when nothing tells. */
async function findTask(settings: Settings): Promise<string> {
  const active = window.activeTextEditor?.document.uri;
  if (settings.beforeAiTask !== 'file') {
    const folder =
      (active === undefined ? undefined : folders.getWorkspaceFolder(active)) ??
      folders.workspaceFolders?.[0];
    const branch = folder === undefined ? null : await readBranch(folders.fs, folder.uri);
    if (branch !== null) return branch;
  }
  if (settings.beforeAiTask === 'branch' || active === undefined) return '';
  const name = active.path.slice(active.path.lastIndexOf('/') + 1);
  return name.replace(/(?<=.)\.[^.]*$/, '');
}
