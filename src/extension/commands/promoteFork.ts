import { l10n, window } from 'vscode';
import { showFailure } from '../views/failures.ts';
import { promoteQuestion } from '../views/lossText.ts';
import type { Parts } from './parts.ts';
import { pickFork } from './pickFork.ts';
import { startPreview } from './preview.ts';
import type { CommandHandler } from './registry.ts';
import { askAboutUnsaved } from './restoring.ts';
import { ask, withSafetyChoices } from './safetyChoices.ts';

/** Promote Fork: a fork takes the place of the workspace it came from, after naming what that one loses. */
export function promoteFork(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await pickFork(parts, target, l10n.t('Promote'));
    const origin = at?.workspace.origin;
    if (at === undefined || origin == null) return;
    const { host, workspace: fork } = at;
    const original = host.workspace(origin.workspace);
    if (original === undefined) {
      void window.showInformationMessage(
        l10n.t('"{0}" came from "{1}", which is gone: there is no place to take.', fork.name, origin.name),
      );
      return;
    }

    const preview = startPreview(parts, { host, workspace: original }, origin.snapshot);
    try {
      const editors = await askAboutUnsaved(parts, host, original);
      if (editors === undefined) return;
      const question = promoteQuestion(l10n, fork.name, original.name, await preview.known());
      if ((await ask(question.message, question.detail, [{ title: l10n.t('Promote') }])) === undefined)
        return;
      preview.stop();
      await editors.settle();
    } finally {
      preview.stop();
    }

    let markSettled: () => void = () => undefined;
    parts.restoredWindow.expect(original.id, new Promise((resolve) => (markSettled = resolve)));
    try {
      const outcome = await withSafetyChoices(original.name, (safety, cold) =>
        parts.operations.run(l10n.t('Promoting "{0}" to "{1}"', fork.name, original.name), (context) =>
          host.connection.request('containers/promote', { container: fork.id, safety, cold }, context),
        ),
      );
      if (outcome === undefined || outcome.kind === 'cancelled') return;
      if (outcome.kind === 'failed') {
        showFailure(outcome.error, { host: host.id, workspace: fork.id });
        return;
      }
      const { workspace, stateful, downMs, totalMs } = outcome.value;
      await parts.notice.announce({
        host: host.id,
        workspace: workspace.id,
        workspaceName: workspace.name,
        generation: workspace.generation,
        label: fork.name,
        isPromotion: true,
        at: Date.now(),
        times: { downMs, totalMs },
        isStateful: stateful,
        canUndo: workspace.undo !== null,
      });
    } finally {
      markSettled();
    }
  };
}
