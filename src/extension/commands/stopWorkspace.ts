import { l10n, window } from 'vscode';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Stop Workspace: ends its processes after asking, and keeps its files. */
export function stopWorkspace(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Stop Workspace'));
    if (at === undefined) return;
    const { host, workspace } = at;
    const stop = { title: l10n.t('Stop') };
    const answer = await window.showWarningMessage(
      l10n.t('Stop "{0}"?', workspace.name),
      {
        modal: true,
        detail: l10n.t(
          'Its processes end and what they hold in memory is lost. Its files and snapshots stay. A snapshot taken first keeps the processes.',
        ),
      },
      stop,
    );
    if (answer !== stop) return;
    const outcome = await parts.operations.run(l10n.t('Stopping "{0}"', workspace.name), (context) =>
      host.connection.request('containers/stop', { container: workspace.id }, context),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  };
}
