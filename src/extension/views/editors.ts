import {
  commands,
  FileSystemError,
  TabInputNotebook,
  TabInputText,
  TabInputTextDiff,
  window,
  workspace,
} from 'vscode';
import type { Tab, TextDocument, Uri } from 'vscode';
import type { Workspace } from '../../protocol/workspace.ts';
import { parseAuthority } from '../model/authority.ts';
import type { CurrentChoice } from '../model/currentChoice.ts';
import { relate } from '../model/currentWorkspace.ts';
import { livesInside } from '../model/inside.ts';

/** How a window is joined to a workspace. */
export type WindowRelation =
  /** Its files are edited from outside: editors read them again after a restore. */
  | 'files'
  /** What runs the window's remote side is in the workspace, and goes back with it: the window loads again. */
  | 'inside'
  | null;

/** How this window is joined to a workspace. */
export function relateWindow(current: CurrentChoice, hostId: string, target: Workspace): WindowRelation {
  if (livesInside(target)) return 'inside';
  const relation = relate(current.folder, hostId, target);
  if (relation !== null) return relation === 'inside' ? 'inside' : 'files';
  const found = current.current;
  const isChosen =
    found.kind === 'known' && found.source === 'chosen' && found.choice.workspace === target.id;
  // A folder whose address tells nothing (a web server, a network mount) is on the workspace when the user says so.
  return isChosen && ['local', 'elsewhere'].includes(current.folder.place.kind) ? 'files' : null;
}

/** Whether a file is one of the workspace's, as this window sees it. */
export function isOnWorkspace(uri: Uri, current: CurrentChoice, hostId: string, target: Workspace): boolean {
  if (uri.scheme !== 'file' && uri.scheme !== 'vscode-remote') return false;
  const place = uri.scheme === 'file' ? parseAuthority('') : parseAuthority(uri.authority);
  if (relate({ place, path: uri.path }, hostId, target) !== null) return true;
  return relateWindow(current, hostId, target) !== null && workspace.getWorkspaceFolder(uri) !== undefined;
}

/** Open documents of the workspace with unsaved changes. */
export function unsavedDocuments(
  current: CurrentChoice,
  hostId: string,
  target: Workspace,
): readonly TextDocument[] {
  return workspace.textDocuments.filter(
    (document) =>
      document.isDirty && !document.isUntitled && isOnWorkspace(document.uri, current, hostId, target),
  );
}

/** Opens the text of each document in an untitled editor, so that it outlives what happens to the document. */
export async function keepCopies(documents: readonly TextDocument[]): Promise<void> {
  for (const document of documents) {
    const copy = await workspace.openTextDocument({
      content: document.getText(),
      language: document.languageId,
    });
    await window.showTextDocument(copy, { preview: false, preserveFocus: true });
  }
}

/**
 * Makes every editor on the workspace read its file again, whatever it holds. VS Code refuses to save only when the file
 * is newer than what was read, and a restore turns times back: an editor that isn't read again would write what it holds
 * over the restored file (H30).
 */
export async function revertEditors(
  current: CurrentChoice,
  hostId: string,
  target: Workspace,
): Promise<void> {
  const tabs = window.tabGroups.all.flatMap((group) =>
    group.tabs
      .map((tab) => ({ tab, uri: uriOf(tab) }))
      .filter(({ uri }) => uri !== null && isOnWorkspace(uri, current, hostId, target)),
  );
  const before = window.tabGroups.activeTabGroup.activeTab;
  // The one in front first: with "auto-save on focus change", leaving it unreverted would save it.
  tabs.sort((a, b) => Number(b.tab === before) - Number(a.tab === before));
  for (const { tab, uri } of tabs) {
    if (uri === null || !(await show(tab, uri))) continue;
    const isGone = await isMissing(uri);
    await commands.executeCommand(
      isGone ? 'workbench.action.revertAndCloseActiveEditor' : 'workbench.action.files.revert',
    );
  }
  const uri = before === undefined ? null : uriOf(before);
  if (before !== undefined && uri !== null && tabs.length > 0) await show(before, uri);
}

function uriOf(tab: Tab): Uri | null {
  const { input } = tab;
  if (input instanceof TabInputText || input instanceof TabInputNotebook) return input.uri;
  return input instanceof TabInputTextDiff ? input.modified : null;
}

async function show(tab: Tab, uri: Uri): Promise<boolean> {
  const options = { viewColumn: tab.group.viewColumn, preserveFocus: false, preview: tab.isPreview };
  try {
    if (tab.input instanceof TabInputNotebook) {
      await window.showNotebookDocument(await workspace.openNotebookDocument(uri), options);
    } else {
      await window.showTextDocument(uri, options);
    }
    return true;
  } catch {
    // The file is gone and was never read: there is nothing in the editor that could be written.
    return false;
  }
}

async function isMissing(uri: Uri): Promise<boolean> {
  try {
    await workspace.fs.stat(uri);
    return false;
  } catch (error) {
    return error instanceof FileSystemError && error.code === 'FileNotFound';
  }
}
