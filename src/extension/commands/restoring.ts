import { l10n } from 'vscode';
import type { MessageItem, TextDocument } from 'vscode';
import type { Result, Safety } from '../../protocol/operations.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import type { Host } from '../model/host.ts';
import { keepCopies, revertEditors, unsavedDocuments } from '../views/editors.ts';
import { showFailure } from '../views/failures.ts';
import { restoreQuestion } from '../views/lossText.ts';
import type { Outcome } from '../views/operations.ts';
import { snapshotLabel } from '../views/snapshotText.ts';
import type { Parts } from './parts.ts';
import { startPreview } from './preview.ts';
import { ask, withSafetyChoices } from './safetyChoices.ts';
import type { SnapshotTarget } from './target.ts';

type Restored = Result<'snapshots/restore'>;

/**
 * Puts a workspace back to a snapshot: names unsaved editors, then what will be lost; restores; tells the result with
 * Undo. Every way out before that leaves everything as it is.
 */
export async function restoreSnapshot(parts: Parts, target: SnapshotTarget): Promise<void> {
  const { host, workspace, snapshot } = target;
  const preview = startPreview(parts, target, snapshot.name);
  try {
    const editors = await askAboutUnsaved(parts, host, workspace);
    if (editors === undefined) return;

    const question = restoreQuestion(l10n, workspace, snapshot, await preview.known(), Date.now());
    if ((await ask(question.message, question.detail, [{ title: l10n.t('Restore') }])) === undefined) return;
    preview.stop();

    await editors.settle();
    await restoreAndTell(parts, target);
  } finally {
    preview.stop();
  }
}

async function restoreAndTell(parts: Parts, target: SnapshotTarget): Promise<void> {
  const { host, workspace, snapshot } = target;
  let markSettled: () => void = () => undefined;
  parts.restoredWindow.expect(workspace.id, new Promise((resolve) => (markSettled = resolve)));
  try {
    const outcome = await withSafetyChoices(workspace.name, (safety, cold) =>
      restoreOnce(parts, target, safety, cold),
    );
    if (outcome === undefined || outcome.kind === 'cancelled') return;
    if (outcome.kind === 'failed') {
      showFailure(outcome.error, { host: host.id, workspace: workspace.id });
      return;
    }
    const result = outcome.value;
    parts.log.info(
      `"${workspace.name}" is back at "${snapshotLabel(snapshot)}": ` +
        result.timing.map(({ step, ms }) => `${step} ${String(Math.round(ms))} ms`).join(', '),
    );
    await parts.notice.announce({
      host: host.id,
      workspace: workspace.id,
      workspaceName: workspace.name,
      generation: result.workspace.generation,
      label: snapshotLabel(snapshot),
      at: Date.now(),
      times: { downMs: result.downMs, totalMs: result.totalMs },
      isStateful: result.stateful,
      canUndo: result.workspace.undo !== null,
    });
  } finally {
    markSettled();
  }
}

function restoreOnce(
  parts: Parts,
  { host, workspace, snapshot }: SnapshotTarget,
  safety: Safety,
  cold: boolean,
): Promise<Outcome<Restored>> {
  return parts.operations.run(
    l10n.t('Restoring "{0}" to "{1}"', workspace.name, snapshotLabel(snapshot)),
    (context) =>
      host.connection.request(
        'snapshots/restore',
        { container: workspace.id, name: snapshot.name, safety, cold },
        context,
      ),
  );
}

/** What becomes of a window's unsaved editors when the files under them are replaced. */
interface UnsavedEditors {
  /** Does what was chosen; called before the files are replaced. */
  settle(): Promise<void>;
}

/** Names the unsaved editors on a workspace and asks what should become of them. Undefined: nothing is to be replaced. */
export async function askAboutUnsaved(
  { current }: Pick<Parts, 'current'>,
  host: Host,
  workspace: Workspace,
): Promise<UnsavedEditors | undefined> {
  const unsaved = unsavedDocuments(current, host.id, workspace);
  if (unsaved.length === 0) return { settle: () => Promise.resolve() };
  const keepsCopies = await askWhetherToKeep(workspace.name, unsaved);
  if (keepsCopies === undefined) return undefined;
  return {
    settle: async () => {
      if (keepsCopies) await keepCopies(unsaved);
      // Reverted before, so that no auto-save finds anything to write into the restored files.
      await revertEditors(current, host.id, workspace);
    },
  };
}

/** True: keep the unsaved text in untitled editors; false: discard it; undefined: don't restore. */
async function askWhetherToKeep(
  workspace: string,
  unsaved: readonly TextDocument[],
): Promise<boolean | undefined> {
  const keep: MessageItem = { title: l10n.t('Keep Copies') };
  const discard: MessageItem = { title: l10n.t('Discard') };
  const names = unsaved.map((document) => `•  ${document.uri.path}`).slice(0, 10);
  if (unsaved.length > names.length)
    names.push(`•  ${l10n.t('and {0} more', unsaved.length - names.length)}`);
  const answer = await ask(
    unsaved.length === 1
      ? l10n.t('A file of "{0}" has unsaved changes. What should become of them?', workspace)
      : l10n.t(
          '{0} files of "{1}" have unsaved changes. What should become of them?',
          unsaved.length,
          workspace,
        ),
    [
      ...names,
      '',
      l10n.t(
        'After the restore the editors show the restored files. Copies open as untitled editors, to be saved elsewhere.',
      ),
    ].join('\n'),
    [keep, discard],
  );
  return answer === undefined ? undefined : answer === keep;
}
