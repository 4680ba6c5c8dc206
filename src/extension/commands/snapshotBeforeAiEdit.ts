import { FileType, l10n, Uri, window, workspace as folders } from 'vscode';
import { branchOfHead, fillAliasTemplate, gitDirectoryOfFile } from '../model/aliasTemplate.ts';
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
    const branch = folder === undefined ? null : await readBranch(folder.uri);
    if (branch !== null) return branch;
  }
  if (settings.beforeAiTask === 'branch' || active === undefined) return '';
  const name = active.path.slice(active.path.lastIndexOf('/') + 1);
  return name.replace(/(?<=.)\.[^.]*$/, '');
}

/** Reads `.git/HEAD` where the folder is: the Git extension may run on another machine than this one (H35). */
async function readBranch(folder: Uri): Promise<string | null> {
  try {
    const dotGit = Uri.joinPath(folder, '.git');
    const { type } = await folders.fs.stat(dotGit);
    if ((type & FileType.Directory) !== 0) return branchOfHead(await readText(Uri.joinPath(dotGit, 'HEAD')));
    const directory = gitDirectoryOfFile(await readText(dotGit));
    if (directory === null) return null;
    const repository = directory.startsWith('/')
      ? folder.with({ path: directory })
      : Uri.joinPath(folder, directory);
    return branchOfHead(await readText(Uri.joinPath(repository, 'HEAD')));
  } catch {
    // Most folders are no repository, which is no failure.
    return null;
  }
}

async function readText(uri: Uri): Promise<string> {
  return Buffer.from(await folders.fs.readFile(uri)).toString('utf8');
}
