import { l10n } from 'vscode';
import { snapshotLabel } from '../views/snapshotText.ts';
import { askForExpiry } from './asking.ts';
import { changeSnapshot } from './changing.ts';
import type { Parts } from './parts.ts';
import { pickSnapshot } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Set Expiry…: sets or clears when a snapshot may be deleted by itself. */
export function setExpiry(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshot(parts, target, selection, {
      title: l10n.t('Set Expiry'),
      placeholder: l10n.t('Choose the snapshot'),
    });
    if (picked === undefined) return;
    const { workspace, snapshot } = picked;
    const expiry = await askForExpiry(l10n.t('Expiry of "{0}"', snapshotLabel(snapshot)));
    if (expiry === undefined) return;
    await changeSnapshot(
      parts,
      l10n.t('Setting the expiry of "{0}"', snapshotLabel(snapshot)),
      picked,
      'snapshots/expiry',
      {
        container: workspace.id,
        name: snapshot.name,
        expiry,
      },
    );
  };
}
