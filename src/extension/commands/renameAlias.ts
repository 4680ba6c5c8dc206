import { l10n } from 'vscode';
import { snapshotLabel } from '../views/snapshotText.ts';
import { askForName } from './asking.ts';
import { changeSnapshot } from './changing.ts';
import type { Parts } from './parts.ts';
import { pickSnapshot } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Rename Alias…: sets, changes or clears the alias of a snapshot. */
export function renameAlias(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshot(parts, target, selection, {
      title: l10n.t('Rename Alias'),
      placeholder: l10n.t('Choose the snapshot to rename'),
    });
    if (picked === undefined) return;
    const { workspace, snapshot } = picked;
    const alias = await askForName({
      title: l10n.t('Alias of "{0}"', snapshotLabel(snapshot)),
      prompt: l10n.t('Leave it empty to remove the alias; the name {0} stays.', snapshot.name),
      value: snapshot.alias ?? '',
      mayBeEmpty: true,
    });
    if (alias === undefined || alias === (snapshot.alias ?? '')) return;
    await changeSnapshot(
      parts,
      l10n.t('Renaming "{0}"', snapshotLabel(snapshot)),
      picked,
      'snapshots/alias',
      {
        container: workspace.id,
        name: snapshot.name,
        alias: alias === '' ? null : alias,
      },
    );
  };
}
