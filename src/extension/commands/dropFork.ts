import { l10n } from 'vscode';
import { showFailure } from '../views/failures.ts';
import { dropQuestion } from '../views/lossText.ts';
import type { Parts } from './parts.ts';
import { pickFork } from './pickFork.ts';
import type { CommandHandler } from './registry.ts';
import { ask } from './safetyChoices.ts';

/** Drop Fork: deletes a fork with its snapshots, after naming what is thrown away. */
export function dropFork(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await pickFork(parts, target, l10n.t('Drop Fork'));
    if (at === undefined) return;
    const { host, workspace } = at;
    const changes = await parts.operations.run(
      l10n.t('Looking at what "{0}" holds', workspace.name),
      (context) => host.connection.request('containers/changes', { container: workspace.id }, context),
    );
    if (changes.kind === 'cancelled') return;
    // Without the snapshot that it began as nothing can be counted; that it goes can be said all the same.
    const question = dropQuestion(l10n, workspace, changes.kind === 'done' ? changes.value : null);
    if ((await ask(question.message, question.detail, [{ title: l10n.t('Drop') }])) === undefined) return;
    const outcome = await parts.operations.run(l10n.t('Dropping "{0}"', workspace.name), (context) =>
      host.connection.request('containers/delete', { container: workspace.id, withSnapshots: true }, context),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  };
}
