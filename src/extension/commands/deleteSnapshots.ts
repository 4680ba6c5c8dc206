import { l10n, window } from 'vscode';
import { showFailure } from '../views/failures.ts';
import { counted, sizeText } from '../views/measures.ts';
import { snapshotLabel } from '../views/snapshotText.ts';
import type { Parts } from './parts.ts';
import { pickSnapshots } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import type { SnapshotTarget } from './target.ts';

/** How many names a question lists. */
const NAMED = 10;

/** Delete…: deletes the selected or picked snapshots after naming them. */
export function deleteSnapshots(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshots(parts, target, selection, {
      title: l10n.t('Delete Snapshots'),
      placeholder: l10n.t('Choose the snapshots to delete'),
      isFit: (snapshot) => !snapshot.protected,
    });
    if (picked.length === 0 || !(await isConfirmed(picked))) return;
    for (const { host, workspace, snapshot } of picked) {
      const outcome = await parts.operations.run(
        l10n.t('Deleting "{0}"', snapshotLabel(snapshot)),
        (context) =>
          host.connection.request(
            'snapshots/delete',
            { container: workspace.id, name: snapshot.name },
            context,
          ),
      );
      // What is left is not touched after a failure or a cancel.
      if (outcome.kind === 'failed')
        showFailure(outcome.error, { host: host.id, workspace: workspace.id, snapshot: snapshot.name });
      if (outcome.kind !== 'done') return;
    }
  };
}

async function isConfirmed(picked: readonly SnapshotTarget[]): Promise<boolean> {
  const [first] = picked;
  const isOfOne = picked.every(({ workspace }) => workspace.id === first?.workspace.id);
  const message =
    first === undefined || !isOfOne
      ? l10n.t('Delete {0} snapshots?', picked.length)
      : picked.length === 1
        ? l10n.t('Delete the snapshot "{0}" of "{1}"?', snapshotLabel(first.snapshot), first.workspace.name)
        : l10n.t('Delete {0} snapshots of "{1}"?', picked.length, first.workspace.name);
  const names = picked
    .slice(0, NAMED)
    .map(
      ({ workspace, snapshot }) => `•  ${snapshotLabel(snapshot)}${isOfOne ? '' : ` · ${workspace.name}`}`,
    );
  if (picked.length > NAMED) names.push(`•  ${l10n.t('and {0} more', picked.length - NAMED)}`);
  const bytes = picked.reduce((sum, { snapshot }) => sum + (snapshot.exclusiveBytes ?? 0), 0);
  const isUndoNeeded = picked.some(({ workspace, snapshot }) => workspace.undo?.safety === snapshot.name);
  const detail = [
    ...(picked.length > 1 ? [...names, ''] : []),
    l10n.t("This can't be undone. The workspace itself and its other snapshots stay as they are."),
    ...(isUndoNeeded ? [l10n.t('The last restore could not be undone any more.')] : []),
    ...(bytes > 0 ? [l10n.t('It frees about {0}.', sizeText(bytes))] : []),
  ].join('\n');
  const button = {
    title: counted(picked.length, l10n.t('Delete'), (n) => l10n.t('Delete {0} Snapshots', n)),
  };
  return (await window.showWarningMessage(message, { modal: true, detail }, button)) === button;
}
