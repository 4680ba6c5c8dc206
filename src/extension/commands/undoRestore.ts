import { l10n } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { restoreSnapshot } from './restoring.ts';

/** Undo Restore: back to the safety snapshot of the last restore. */
export function undoRestore(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Undo Restore'));
    if (at === undefined) return;
    const { host, workspace } = at;
    const outcome = await parts.operations.run(
      l10n.t('Looking for the last restore of "{0}"', workspace.name),
      async (context) => {
        const { undo } = await host.connection.request(
          'containers/show',
          { container: workspace.id },
          context,
        );
        if (undo === null) throw new ForkpointError('undo.nothing', { workspace: workspace.name });
        return host.connection.request(
          'snapshots/show',
          { container: workspace.id, name: undo.safety },
          context,
        );
      },
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
    if (outcome.kind === 'done') {
      // Which forks began at it plays no part in a restore.
      await restoreSnapshot(parts, { host, workspace, snapshot: { ...outcome.value, forks: [] } });
    }
  };
}
