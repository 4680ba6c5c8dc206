import { l10n } from 'vscode';
import type { Host } from '../model/host.ts';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';

/**
 * Connects a host on the user's gesture, asking what has to be asked, and reads its workspaces.
 * @returns whether it is connected; when it isn't, the user was told why
 */
export async function ensureConnected(
  { operations }: Pick<Parts, 'operations'>,
  host: Host,
): Promise<boolean> {
  if (host.state.kind === 'connected' && host.workspaces.kind === 'ready') return true;
  const outcome = await operations.run(l10n.t('Connecting to "{0}"', host.id), async ({ signal }) => {
    if (host.state.kind !== 'connected') await host.connection.connect({ interactive: true, signal });
    await host.readyWorkspaces();
  });
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id });
  return outcome.kind === 'done';
}
