import { commands, l10n, window } from 'vscode';
import { hasRemoteSsh } from '../ssh/remoteSsh.ts';
import { enableSsh } from './copySshCommand.ts';
import type { Parts } from './parts.ts';
import type { CommandHandler } from './registry.ts';

/** Open in New Window: a window inside a workspace, through Remote - SSH. */
export function openInNewWindow(parts: Parts): CommandHandler {
  return async (target) => {
    if (!(await hasRemoteSsh())) {
      void window.showInformationMessage(
        l10n.t('Install the extension Remote - SSH first. "Copy SSH Command" works without it.'),
      );
      return;
    }
    const alias = await enableSsh(parts, target, l10n.t('Open in New Window'));
    // Remote - SSH knows only what the user's own configuration holds.
    if (alias === undefined || !(await parts.sshAccess.include())) return;
    await commands.executeCommand('vscode.newWindow', { remoteAuthority: `ssh-remote+${alias.alias}` });
  };
}
