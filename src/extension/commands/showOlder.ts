import { l10n } from 'vscode';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Show Older Snapshots: more rows of a workspace's timeline in the view. */
export function showOlder(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Show Older Snapshots'));
    if (at !== undefined) parts.tree.showOlder(at.host, at.workspace.id);
  };
}
