import { l10n, window, workspace as folders } from 'vscode';
import type { ParamsInput } from '../../protocol/operations.ts';
import { hostText } from '../hosts/hostText.ts';
import { showFailure } from '../views/failures.ts';
import { elapsedText } from '../views/measures.ts';
import { snapshotLabel } from '../views/snapshotText.ts';
import type { Parts } from './parts.ts';
import type { WorkspaceTarget } from './target.ts';

/** How long a quiet message stays in the status bar. */
const MESSAGE_MS = 6000;

/** Takes a snapshot and says how it went: quietly, unless something of the workspace could not be kept. */
export async function takeSnapshot(
  parts: Parts,
  { host, workspace }: WorkspaceTarget,
  options: Omit<ParamsInput<'snapshots/create'>, 'container'>,
): Promise<void> {
  const outcome = await parts.operations.run(
    l10n.t('Taking a snapshot of "{0}"', workspace.name),
    (context) =>
      host.connection.request('snapshots/create', { container: workspace.id, ...options }, context),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  if (outcome.kind !== 'done') return;
  const { snapshot, timing } = outcome.value;
  parts.log.info(
    `"${snapshotLabel(snapshot)}" of "${workspace.name}" (${snapshot.stateful ? 'stateful' : 'stateless'}): ` +
      timing.map(({ step, ms }) => `${step} ${String(Math.round(ms))} ms`).join(', '),
  );
  if (snapshot.statelessReason !== null) {
    void window.showWarningMessage(
      l10n.t(
        'Snapshot "{0}" holds the files of "{1}" alone. Its processes could not be kept: {2}.',
        snapshotLabel(snapshot),
        workspace.name,
        hostText(snapshot.statelessReason),
      ),
    );
    return;
  }
  const left = snapshot.capture.leftOut;
  if (left.length > 0) {
    const names = [...new Set(left.map((process) => hostText(process.name)))].slice(0, 3).join(', ');
    void window.showWarningMessage(
      l10n.t(
        'Snapshot "{0}" was taken, without {1} processes that were started from outside the workspace: {2}. A restore ends them.',
        snapshotLabel(snapshot),
        left.length,
        names,
      ),
    );
    return;
  }
  window.setStatusBarMessage(
    l10n.t('$(check) Snapshot "{0}" taken in {1}', snapshotLabel(snapshot), elapsedText(outcome.ms)),
    MESSAGE_MS,
  );
}

/** Writes unsaved editors to disk where the settings want it, so that the snapshot holds them. */
export async function saveEditors({ settings, log }: Parts): Promise<void> {
  if (!settings.savesBeforeSnapshot) return;
  if (await folders.saveAll(false)) return;
  log.warn('Not all editors could be saved before the snapshot');
  void window.showWarningMessage(
    l10n.t('Not all editors could be saved: the snapshot holds those files as they were last saved.'),
  );
}
