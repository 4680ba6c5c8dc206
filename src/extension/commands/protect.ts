import { l10n } from 'vscode';
import { snapshotLabel } from '../views/snapshotText.ts';
import { changeSnapshot } from './changing.ts';
import type { Parts } from './parts.ts';
import { pickSnapshots } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Protect: keeps a snapshot from deletion and expiry. */
export function protect(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshots(parts, target, selection, {
      title: l10n.t('Protect Snapshots'),
      placeholder: l10n.t('Choose the snapshots to protect'),
      isFit: (snapshot) => !snapshot.protected,
    });
    for (const each of picked) {
      const title = l10n.t('Protecting "{0}"', snapshotLabel(each.snapshot));
      const params = { container: each.workspace.id, name: each.snapshot.name };
      if (!(await changeSnapshot(parts, title, each, 'snapshots/protect', params))) return;
    }
  };
}
