import { l10n, window } from 'vscode';
import { snapshotLabel } from '../views/snapshotText.ts';
import { changeSnapshot } from './changing.ts';
import type { Parts } from './parts.ts';
import { pickSnapshot } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** As long as the host takes it. */
const LONGEST_NOTE = 4096;

/** Edit Note…: sets, changes or clears the note of a snapshot. */
export function editNote(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshot(parts, target, selection, {
      title: l10n.t('Edit Note'),
      placeholder: l10n.t('Choose the snapshot to write a note for'),
    });
    if (picked === undefined) return;
    const { workspace, snapshot } = picked;
    const note = await window.showInputBox({
      title: l10n.t('Note for "{0}"', snapshotLabel(snapshot)),
      prompt: l10n.t('Leave it empty to remove the note.'),
      value: snapshot.note ?? '',
      ignoreFocusOut: true,
      validateInput: (text) =>
        text.length > LONGEST_NOTE ? l10n.t('A note has at most {0} characters.', LONGEST_NOTE) : undefined,
    });
    if (note === undefined || note === (snapshot.note ?? '')) return;
    await changeSnapshot(
      parts,
      l10n.t('Writing the note of "{0}"', snapshotLabel(snapshot)),
      picked,
      'snapshots/note',
      {
        container: workspace.id,
        name: snapshot.name,
        note: note === '' ? null : note,
      },
    );
  };
}
