import { l10n } from 'vscode';
import { snapshotLabel } from '../views/snapshotText.ts';
import { changeSnapshot } from './changing.ts';
import type { Parts } from './parts.ts';
import { pickSnapshots } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Unprotect: lets a snapshot be deleted and expire again. */
export function unprotect(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshots(parts, target, selection, {
      title: l10n.t('Unprotect Snapshots'),
      placeholder: l10n.t('Choose the snapshots that need no protection any more'),
      isFit: (snapshot) => snapshot.protected,
    });
    for (const each of picked) {
      const title = l10n.t('Removing the protection of "{0}"', snapshotLabel(each.snapshot));
      const params = { container: each.workspace.id, name: each.snapshot.name };
      if (!(await changeSnapshot(parts, title, each, 'snapshots/unprotect', params))) return;
    }
  };
}
