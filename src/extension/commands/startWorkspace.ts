import { l10n } from 'vscode';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Start Workspace: runs its main program again, from its files. */
export function startWorkspace(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Start Workspace'));
    if (at === undefined) return;
    const { host, workspace } = at;
    const outcome = await parts.operations.run(l10n.t('Starting "{0}"', workspace.name), (context) =>
      host.connection.request('containers/start', { container: workspace.id }, context),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  };
}
