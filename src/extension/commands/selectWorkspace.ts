import { l10n } from 'vscode';
import { choiceOf } from '../model/currentWorkspace.ts';
import type { Parts } from './parts.ts';
import { pickWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { workspaceOf } from './target.ts';

/** Select Current Workspace…: chooses and remembers the workspace that this window works on. */
export function selectWorkspace(parts: Parts): CommandHandler {
  return async (target) => {
    const picked =
      workspaceOf(parts.fleet, target) ?? (await pickWorkspace(parts, l10n.t('Select Current Workspace')));
    if (picked !== undefined) await parts.current.choose(choiceOf(picked.host.id, picked.workspace));
  };
}
