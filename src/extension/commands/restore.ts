import { l10n } from 'vscode';
import type { Parts } from './parts.ts';
import { pickSnapshot } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { restoreSnapshot } from './restoring.ts';

/** Restore…: puts a workspace back to the snapshot it was called on, or to one that is picked. */
export function restore(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const snapshot = await pickSnapshot(parts, target, selection, {
      title: l10n.t('Restore'),
      placeholder: l10n.t('Choose the snapshot to go back to'),
    });
    if (snapshot !== undefined) await restoreSnapshot(parts, snapshot);
  };
}
