import { l10n, window } from 'vscode';
import { shapeTimeline } from '../model/lineage.ts';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';
import { restoreSnapshot } from './restoring.ts';

/** Restore Last Snapshot: back to where the workspace descends from, never to a safety snapshot (H31). */
export function restoreLast(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Restore Last Snapshot'));
    if (at === undefined) return;
    const { host, workspace } = at;
    const outcome = await parts.operations.run(l10n.t('Reading the snapshots of "{0}"', workspace.name), () =>
      host.snapshots(workspace.id),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
    if (outcome.kind !== 'done') return;
    const head = outcome.value.find((snapshot) => snapshot.isHead)?.name ?? null;
    const { current } = shapeTimeline(outcome.value, head);
    if (current === null) {
      void window.showInformationMessage(
        l10n.t('Workspace "{0}" has no snapshot to go back to.', workspace.name),
      );
      return;
    }
    await restoreSnapshot(parts, { host, workspace, snapshot: current });
  };
}
