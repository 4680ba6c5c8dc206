import { env, l10n, window } from 'vscode';
import type { SshAlias } from '../ssh/aliasFiles.ts';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Copy SSH Command: what gets into a workspace from any terminal of this machine. */
export function copySshCommand(parts: Parts): CommandHandler {
  return async (target) => {
    const alias = await enableSsh(parts, target, l10n.t('Copy SSH Command'));
    if (alias === undefined) return;
    const isIncluded = await parts.sshAccess.include();
    const command = isIncluded
      ? `ssh ${alias.alias}`
      : `ssh -F "${parts.sshAccess.configFile}" ${alias.alias}`;
    await env.clipboard.writeText(command);
    void window.showInformationMessage(
      l10n.t('Copied "{0}". scp and rsync know "{1}", too.', command, alias.alias),
    );
  };
}

/** Makes the workspace that a command means known to ssh. Undefined for Cancel, and for a failure, which was told. */
export async function enableSsh(parts: Parts, target: unknown, title: string): Promise<SshAlias | undefined> {
  const at = await currentWorkspace(parts, target, title);
  if (at === undefined) return undefined;
  const { host, workspace } = at;
  const outcome = await parts.operations.run(
    l10n.t('Making "{0}" known to ssh', workspace.name),
    ({ signal }) => parts.sshAccess.enable(host, workspace, signal),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
  return outcome.kind === 'done' ? outcome.value : undefined;
}
