import { l10n, window } from 'vscode';
import type { Parts } from './parts.ts';
import { pickHost } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Remove Host: takes it off the list; nothing on the host changes. */
export function removeHost(parts: Parts): CommandHandler {
  return async (target) => {
    const listed = new Set(parts.settings.hosts);
    const host = await pickHost(parts, target, l10n.t('Remove Host'), ({ id }) => listed.has(id));
    if (host === undefined) return;
    const remove = { title: l10n.t('Remove') };
    const answer = await window.showWarningMessage(
      l10n.t('Remove "{0}" from the list of hosts?', host.id),
      {
        modal: true,
        detail: l10n.t('Its workspaces and snapshots stay on the host. You can add it again at any time.'),
      },
      remove,
    );
    if (answer === remove) await parts.settings.setHosts(parts.settings.hosts.filter((id) => id !== host.id));
  };
}
