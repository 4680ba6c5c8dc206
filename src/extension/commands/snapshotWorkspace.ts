import { l10n } from 'vscode';
import { askForExpiry, askForName } from './asking.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { saveEditors, takeSnapshot } from './takingSnapshot.ts';

/** Snapshot Workspace…: takes a snapshot under an alias and expiry of the user's choice. */
export function snapshotWorkspace(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Snapshot Workspace'));
    if (at === undefined) return;
    const title = l10n.t('Snapshot of "{0}"', at.workspace.name);
    const alias = await askForName({
      title,
      prompt: l10n.t('Alias to find it by. Leave it empty for none.'),
      mayBeEmpty: true,
    });
    if (alias === undefined) return;
    const expiry = await askForExpiry(title);
    if (expiry === undefined) return;
    await saveEditors(parts);
    await takeSnapshot(parts, at, {
      ...(alias === '' ? {} : { alias }),
      ...(expiry === null ? {} : { expiry }),
    });
  };
}
